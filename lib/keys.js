'use strict'

const { MultiHyperbeeError } = require('./errors.js')

const KEY_BYTES = 32
const HEX_LENGTH = 64
const Z32_LENGTH = 52
const Z32_ALPHABET = 'ybndrfg8ejkmcpqxot1uwisza345h769'

/**
 * A feed key from any of its three forms: 32 bytes, 64 hex characters or 52 z-base-32 characters.
 *
 * @param {Uint8Array | string} key
 * @param {string} [what] how a message names it
 * @returns {Buffer} a copy, so that nobody changes it from outside
 * @throws {MultiHyperbeeError} `ERR_INVALID_KEY`, saying what was wrong
 */
function decodeKey(key, what = 'key') {
  if (key instanceof Uint8Array) {
    if (key.length !== KEY_BYTES) throw invalid(what, `this buffer has ${count(key.length, 'byte')}`)
    return Buffer.from(key)
  }
  if (typeof key !== 'string') throw invalid(what, `this is ${describe(key)}`)
  if (key.length === HEX_LENGTH) return decodeHex(key, what)
  if (key.length === Z32_LENGTH) return decodeZ32(key, what)
  throw invalid(what, `this string has ${count(key.length, 'character')}`)
}

/**
 * @param {Uint8Array} key 32 bytes
 * @returns {string} its 52 z-base-32 characters
 */
function encodeZ32(key) {
  let text = ''
  let held = 0
  let bits = 0
  for (const byte of key) {
    held = (held << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += Z32_ALPHABET[(held >> bits) & 31]
    }
    held &= (1 << bits) - 1
  }
  return bits === 0 ? text : text + Z32_ALPHABET[(held << (5 - bits)) & 31]
}

function decodeHex(text, what) {
  const wrong = /[^0-9a-f]/i.exec(text)
  if (wrong !== null) throw invalid(what, notA('hexadecimal', wrong[0], wrong.index))
  return Buffer.from(text, 'hex')
}

function decodeZ32(text, what) {
  const key = Buffer.alloc(KEY_BYTES)
  let held = 0
  let bits = 0
  let length = 0
  for (let i = 0; i < text.length; i++) {
    const digit = Z32_ALPHABET.indexOf(text[i])
    if (digit === -1) throw invalid(what, notA('z-base-32', text[i], i))
    held = (held << 5) | digit
    bits += 5
    if (bits < 8) continue
    bits -= 8
    key[length++] = held >> bits
    held &= (1 << bits) - 1
  }
  // 52 characters are 260 bits: a key that used the last four would have sixteen spellings.
  if (held !== 0) throw invalid(what, 'the last character of this z-base-32 text says more than 32 bytes')
  return key
}

function notA(form, character, index) {
  return `${JSON.stringify(character)} at position ${index} is not a ${form} character`
}

function invalid(what, wrong) {
  const expected = `${what} must be 32 bytes, 64 hex characters or 52 z-base-32 characters`
  return new MultiHyperbeeError('ERR_INVALID_KEY', `${expected}; ${wrong}`)
}

function count(n, unit) {
  return `${n} ${unit}${n === 1 ? '' : 's'}`
}

function describe(value) {
  if (value === null || value === undefined) return String(value)
  return Array.isArray(value) ? 'an array' : `of type ${typeof value}`
}

module.exports = { KEY_BYTES, decodeKey, encodeZ32 }
