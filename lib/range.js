'use strict'

const { MultiHyperbeeError } = require('./errors.js')

/**
 * A range as the core takes it: encoded, inside the codec's prefix, `gt` before `gte` and `lt` before `lte`.
 *
 * @param {import('./codec.js').Codec} codec
 */
function nativeRange(codec, range, options) {
  const native = { reverse: Boolean(options?.reverse ?? range?.reverse) }
  const limit = options?.limit ?? range?.limit
  // -1 is Hyperbee's way of saying: all of them.
  if (limit != null && limit >= 0) native.limit = limit
  const lower = bound(codec, range, 'gt', 'gte')
  const upper = bound(codec, range, 'lt', 'lte')
  const whole = codec.prefix.length > 0
  if (lower !== null) native[lower.name] = lower.key
  else if (whole) native.gte = codec.prefix
  if (upper !== null) native[upper.name] = upper.key
  else if (whole) native.lt = prefixEnd(codec.prefix)
  return native
}

function bound(codec, range, strict, inclusive) {
  const name = range?.[strict] !== undefined ? strict : inclusive
  const key = range?.[name]
  return key === undefined || key === null ? null : { name, key: codec.encodeKey(key) }
}

/** The first key behind all those that begin with `prefix`; undefined if there is none. */
function prefixEnd(prefix) {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length--
  if (length === 0) return undefined
  const end = Buffer.from(prefix.subarray(0, length))
  end[length - 1]++
  return end
}

/**
 * The versions a history runs over, both included; negative bounds count back from the end, -1 being `version`. Without
 * an upper bound `to` is null.
 */
function historyBounds(options, version) {
  const whole = (name) => {
    const value = options[name]
    if (value === undefined || value === null) return null
    if (!Number.isSafeInteger(value)) {
      throw new MultiHyperbeeError('ERR_OPTIONS', `${name} of a history is a whole number, a seq`)
    }
    return value < 0 ? Math.max(0, value + version + 1) : value
  }
  const [gt, gte, lt, lte] = ['gt', 'gte', 'lt', 'lte'].map(whole)
  const from = gt !== null ? gt + 1 : (gte ?? 0)
  const to = lt !== null ? lt - 1 : lte
  return { from, to }
}

/** Milliseconds since 1970 of a Date, of themselves, or of a text that begins as ISO 8601. */
function momentOf(timestamp) {
  const text = typeof timestamp === 'string' ? /^[^Z]*Z?/.exec(timestamp)[0] : timestamp
  const time = typeof text === 'number' ? text : new Date(text ?? NaN).getTime()
  if (Number.isFinite(time) && time >= 0) return time
  throw new MultiHyperbeeError('ERR_OPTIONS', 'timestamp is a Date, milliseconds or an ISO 8601 text')
}

module.exports = { nativeRange, historyBounds, momentOf, prefixEnd }
