'use strict'

// Diffs as they are published: of one feed as a read-only bee, and of one object over all writers.

const { MultiHyperbeeError } = require('./errors.js')
const { CursorStream } = require('./streams.js')

/** `<timestamp>`, and the state that a read puts behind it. */
const STAMP = /^(\d{4,6}-\d\d-\d\dT[\d:.]+Z-[0-9a-f]{8}-[0-9a-f]{12}-[0-9a-f]{16})(-[0-9a-f]{16})?$/

/** `<object id>/<timestamp>`; what has no last segment of that form is an object id as a whole. */
function parseDiffKey(text) {
  const slash = text.lastIndexOf('/')
  const match = slash < 0 ? null : STAMP.exec(text.slice(slash + 1))
  if (match === null) return { id: text, timestamp: null }
  return { id: text.slice(0, slash), timestamp: match[1] }
}

/** How an object is named: its key as text, in hex if keys are binary. */
const idEncoding = (codec) => (codec.textIds ? 'utf8' : 'hex')

function idToKey(codec, id) {
  return Buffer.from(id, idEncoding(codec))
}

/** `{ seq, key: 'id/timestamp', value: diff }` of what the core gives. */
function diffEntry(codec, native) {
  const _objectId = native.key.toString(idEncoding(codec))
  const obj = { _objectId }
  if (native.prev != null) obj._prevTimestamp = native.prev
  const value = { _timestamp: native.timestamp, obj }
  if (native.list != null) value.list = JSON.parse(native.list)
  else if (native.register == null) value.del = true
  else value.value = codec.objects ? native.register : codec.valueEncoding.decode(native.register)
  return { seq: native.seq, key: `${_objectId}/${native.timestamp}`, value }
}

/** @param {{ wanted?: (entry: object) => boolean, shape?: (entry: object) => object, limit?: number, signal?: AbortSignal }} options */
function diffStream(session, codec, open, options) {
  const { wanted = () => true, shape = (entry) => entry, limit = -1, signal } = options ?? {}
  let left = limit < 0 ? Infinity : limit
  const decode = (diffs) => {
    const entries = []
    for (const diff of diffs) {
      if (left <= 0) break
      const entry = diffEntry(codec, diff)
      if (!wanted(entry)) continue
      left--
      entries.push(shape(entry))
    }
    // An entry that is null ends the stream, of those that are read entry by entry (`goesOn`).
    if (left <= 0) entries.push(null)
    return entries
  }
  return new CursorStream(session, { open, decode, goesOn: () => false }, { signal })
}

/** Every writer's diffs of one object, in the shared order, from the timestamp in the key on. */
function createUnionStream(session, codec, key, options) {
  if (key == null || key === '') throw new MultiHyperbeeError('ERR_OPTIONS', 'Key is expected')
  const text = typeof key === 'string' ? key : Buffer.from(key).toString(idEncoding(codec))
  const { id, timestamp } = parseDiffKey(text)
  const bytes = idToKey(codec, id)
  const wanted = (entry) => timestamp === null || entry.value._timestamp >= timestamp
  const open = (native) => native.keyDiffs(bytes, timestamp ?? undefined)
  return diffStream(session, codec, open, { ...options, wanted })
}

/**
 * Which objects' diffs may lie in a range of diff keys: single ones before it, and a range. Whether each diff does is
 * asked of its own key.
 */
function diffRange(codec, range, options) {
  const low = lowest(range)
  const high = range?.lt ?? range?.lte
  const reverse = Boolean(options?.reverse ?? range?.reverse)
  const native = { single: [], from: Buffer.alloc(0), to: undefined, reverse }
  if (low != null) {
    native.from = boundKey(codec, low)
    native.single = shorterKeys(codec, low)
  }
  if (high != null)
    native.to = Buffer.concat([boundKey(codec, high), Buffer.alloc(codec.textIds ? 0 : 1, 0xff)])
  const wanted = ({ key }) => {
    if (range?.gt != null ? compare(key, range.gt) <= 0 : range?.gte != null && compare(key, range.gte) < 0)
      return false
    return range?.lt != null ? compare(key, range.lt) < 0 : range?.lte == null || compare(key, range.lte) <= 0
  }
  return { native, wanted }
}

const lowest = (range) => range?.gt ?? range?.gte
const compare = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))

/** The bytes of a key that is not behind what the bound names: of hex, whole bytes only. */
function boundKey(codec, text) {
  if (codec.textIds) return Buffer.from(text)
  return Buffer.from(/^(?:[0-9a-f]{2})*/.exec(text)[0], 'hex')
}

/** Keys that sort before the bound although their diffs do not: what stands before one of its characters up to '/'. */
function shorterKeys(codec, text) {
  const keys = []
  for (let end = 1; end < text.length; end++) {
    if (text[end] <= '/') keys.push(boundKey(codec, text.slice(0, end)))
  }
  return keys.filter((key, i) => i === 0 || !key.equals(keys[i - 1]))
}

module.exports = { idEncoding, parseDiffKey, idToKey, diffEntry, diffStream, diffRange, createUnionStream }
