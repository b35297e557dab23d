'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { FORM_KEYS } = require('./codec.js')
const { readU64, forEachEntry, FLAG_VALUE } = require('./packed.js')

/** Keys go in and entries come out here, without a Buffer being made for either; larger ones take another way. */
const scratch = Buffer.allocUnsafeSlow(64 * 1024)
const NO_ENTRY = -1
const TOO_LARGE = -2

/**
 * One key's entry: a synchronous call into the core.
 *
 * @param {object} native the open database
 * @param {import('./codec.js').Codec} codec
 * @param {number | null} at the version to read at; null: the newest
 */
function readEntry(native, codec, key, at) {
  const keyLength = codec.writeKey(key, scratch)
  let length
  try {
    length = native.getInto(scratch, keyLength, codec.form, at)
  } catch (error) {
    throw MultiHyperbeeError.from(error)
  }
  if (length === NO_ENTRY) return null
  if (length === TOO_LARGE) return readEntries(native, codec, [key], at)[0]
  const seq = readU64(scratch, 0)
  // Objects are parsed at once; anything else might keep what it is given.
  if (codec.objects)
    return { seq, key, value: codec.decodeValue(scratch[8], scratch, 9, length, codec.idOf(key)) }
  const bytes = Buffer.from(scratch.subarray(9, length))
  return { seq, key, value: codec.decodeValue(scratch[8], bytes, 0, bytes.length) }
}

/** Whether there is an entry, without making anything of it. */
function hasEntry(native, codec, key, at) {
  const bytes = codec.encodeKey(key)
  scratch.set(bytes, 0)
  return translated(() => native.getInto(scratch, bytes.length, FORM_KEYS, at)) !== NO_ENTRY
}

/** Many keys' entries, null for those absent, in one crossing. */
function readEntries(native, codec, keys, at) {
  const encoded = keys.map((key) => codec.encodeKey(key))
  const packed = translated(() => native.getMany(encoded, codec.form, at))
  const entries = []
  forEachEntry(packed, (flags, seq, _key, keyEnd, valueEnd) => {
    const key = keys[entries.length]
    const found = (flags & FLAG_VALUE) !== 0
    entries.push(
      found ? { seq, key, value: codec.decodeValue(flags, packed, keyEnd, valueEnd, codec.idOf(key)) } : null
    )
  })
  return entries
}

module.exports = { readEntry, readEntries, hasEntry }
