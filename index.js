'use strict'

const { MultiHyperbee } = require('./lib/multi-hyperbee.js')
const { Store } = require('./lib/store.js')
const { Feed } = require('./lib/feed.js')
const { MultiHyperbeeError } = require('./lib/errors.js')

module.exports = MultiHyperbee
Object.assign(module.exports, {
  // For compilers that read `export default` as a property.
  default: MultiHyperbee,
  MultiHyperbee,
  Autobee: MultiHyperbee,
  Store,
  Feed,
  MultiHyperbeeError
})
