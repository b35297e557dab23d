'use strict'

const { MultiHyperbee } = require('./lib/multi-hyperbee.js')
const { Store } = require('./lib/store.js')
const { Feed } = require('./lib/feed.js')
const { MultiHyperbeeError } = require('./lib/errors.js')

module.exports = MultiHyperbee
Object.assign(module.exports, { MultiHyperbee, Autobee: MultiHyperbee, Store, Feed, MultiHyperbeeError })
