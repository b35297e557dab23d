'use strict'

const { MultiHyperbeeError } = require('../errors.js')
const { View } = require('../view.js')

/** The view of a database in apply mode, from outside `apply`. */
class ReadOnlyBee extends View {
  async put() {
    throw readOnly('put')
  }

  async del() {
    throw readOnly('del')
  }

  batch() {
    throw readOnly('batch')
  }

  write() {
    throw readOnly('write')
  }

  async conflicts() {
    const what =
      'conflicts is for merge mode: in apply mode what becomes of a conflict is what your apply makes of it'
    throw new MultiHyperbeeError('ERR_MODE', what)
  }
}

function readOnly(name) {
  const what = `${name} is for merge mode: this database applies, write with append, and to the view in apply`
  return new MultiHyperbeeError('ERR_MODE', what)
}

module.exports = { ReadOnlyBee }
