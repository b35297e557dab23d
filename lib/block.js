'use strict'

// Blocks of apply mode by hand, as Autobee has it: for tools, and for feeds that are written without a database.

const { encodeBlock, decodeBlock } = require('../native.js')
const { MultiHyperbeeError, translated } = require('./errors.js')
const { resolveEncoding } = require('./encodings.js')
const { decodeKey } = require('./keys.js')

/** Where a feed is before anything is in it. */
const GENESIS = Object.freeze({ length: 0, key: null })

/**
 * A block that says `value`.
 *
 * @param {any} value a Buffer or a string, or what `valueEncoding` takes
 * @param {{ timestamp?: number, links?: { key: any, length: number }[], valueEncoding?: any }} [options] `timestamp` in
 *   milliseconds since 1970
 */
function encodeValue(value, options) {
  const { timestamp = 0, links = [], valueEncoding = 'binary' } = options ?? {}
  if (!Number.isSafeInteger(timestamp) || timestamp < 0) {
    throw new MultiHyperbeeError('ERR_OPTIONS', 'timestamp is a whole number of milliseconds since 1970')
  }
  const bytes = resolveEncoding(valueEncoding, 'valueEncoding').encode(value)
  return translated(() => encodeBlock(bytes, timestamp, links.map(link)))
}

function link({ key, length }) {
  if (Number.isSafeInteger(length) && length > 0) return { key: decodeKey(key), length }
  throw new MultiHyperbeeError('ERR_OPTIONS', 'a link is { key, length }, the length above 0')
}

/** The value that a block says; null if it says something else. What is no block is `ERR_INVALID_VALUE`. */
function decodeValue(block, options) {
  const encoding = resolveEncoding(options?.valueEncoding ?? 'binary', 'valueEncoding')
  if (!(block instanceof Uint8Array)) throw new MultiHyperbeeError('ERR_INVALID_VALUE', 'a block is a Buffer')
  const value = translated(() => decodeBlock(block))
  return value === null ? null : encoding.decode(value)
}

module.exports = { GENESIS, encodeValue, decodeValue }
