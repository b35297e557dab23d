'use strict'

const { MultiHyperbeeError } = require('../errors.js')

/** Codes that abstract-level has a word for. The others stay as they are. */
const LEVEL_CODES = new Map([
  ['ERR_CLOSED', 'LEVEL_DATABASE_NOT_OPEN'],
  ['ERR_NOT_READY', 'LEVEL_DATABASE_NOT_OPEN'],
  ['ERR_KEY_TOO_LARGE', 'LEVEL_INVALID_KEY'],
  ['ERR_INVALID_VALUE', 'LEVEL_INVALID_VALUE'],
  ['ERR_VALUE_TOO_LARGE', 'LEVEL_INVALID_VALUE'],
  ['ERR_NOT_WRITABLE', 'LEVEL_READONLY'],
  ['ERR_READ_ONLY', 'LEVEL_READONLY'],
  ['ERR_STORE_LOCKED', 'LEVEL_LOCKED'],
  ['ERR_CORRUPT', 'LEVEL_CORRUPTION'],
  ['ERR_DISK_FULL', 'LEVEL_IO_ERROR']
])

/** What users of a LevelDB expect: abstract-level's code, what happened as `cause`. */
class LevelError extends Error {
  constructor(code, message, options) {
    super(message, options)
    this.code = code
  }
}

Object.defineProperty(LevelError.prototype, 'name', { value: 'LevelError' })

/** @template E @param {E} error @returns {E | LevelError} */
function levelError(error) {
  const known = MultiHyperbeeError.from(error)
  const code = LEVEL_CODES.get(known?.code)
  return code === undefined ? known : new LevelError(code, known.message, { cause: known })
}

/** Runs a synchronous read. */
function mapped(read) {
  try {
    return read()
  } catch (error) {
    throw levelError(error)
  }
}

async function mappedAsync(promise) {
  try {
    return await promise
  } catch (error) {
    throw levelError(error)
  }
}

module.exports = { LevelError, levelError, mapped, mappedAsync }
