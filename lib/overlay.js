'use strict'

// A batch's own writes over what is stored.

/** Pairs of a stored entry and an own op of the same key; where there is only one of them the other is null. */
async function* zipped(stored, own, keyOf, sign) {
  let i = 0
  for await (const entry of stored) {
    const key = own.length > i ? keyOf(entry) : null
    while (i < own.length && sign * Buffer.compare(own[i].bytes, key) < 0) yield [null, own[i++]]
    const same = i < own.length && own[i].bytes.equals(key)
    yield [entry, same ? own[i++] : null]
  }
  while (i < own.length) yield [null, own[i++]]
}

function within(bytes, { gt, gte, lt, lte }) {
  if (gt !== undefined && Buffer.compare(bytes, gt) <= 0) return false
  if (gte !== undefined && Buffer.compare(bytes, gte) < 0) return false
  if (lt !== undefined && Buffer.compare(bytes, lt) >= 0) return false
  return lte === undefined || Buffer.compare(bytes, lte) <= 0
}

module.exports = { zipped, within }
