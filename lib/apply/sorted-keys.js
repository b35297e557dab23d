'use strict'

/** More keys than this are merged in at once, fewer put in place one by one. */
const FEW = 8

/** Keys as latin1 texts, which compare as their bytes do, sorted when somebody asks. */
class SortedKeys {
  constructor() {
    this._sorted = []
    this._added = []
  }

  /** A key that is not among them. */
  add(key) {
    this._added.push(key)
  }

  /** Anew, from these. */
  reset(keys) {
    this._sorted = []
    this._added = [...keys]
  }

  /** All of them, in order. The array is good until the next key is added. */
  all() {
    const added = this._added
    if (added.length > FEW) this._sorted = merged(this._sorted, added.sort())
    else for (const key of added) this._sorted.splice(lowerBound(this._sorted, key), 0, key)
    this._added = []
    return this._sorted
  }
}

function merged(a, b) {
  if (a.length === 0) return b
  const out = new Array(a.length + b.length)
  let [i, j] = [0, 0]
  for (let at = 0; at < out.length; at++) {
    out[at] = j === b.length || (i < a.length && a[i] < b[j]) ? a[i++] : b[j++]
  }
  return out
}

/** The index of the first key that is not below `key`. */
function lowerBound(keys, key) {
  let [low, high] = [0, keys.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (keys[middle] < key) low = middle + 1
    else high = middle
  }
  return low
}

/** The index of the first key above `key`. */
function upperBound(keys, key) {
  const at = lowerBound(keys, key)
  return keys[at] === key ? at + 1 : at
}

module.exports = { SortedKeys, lowerBound, upperBound }
