'use strict'

/** A loop over entries that are all here would hold up everything else: after so many milliseconds it gives way. */
const GIVE_WAY_MS = 5

/** One crossing into the core brings at most this: the cost of crossing is spread, and each crossing is short. */
const MOST_ENTRIES = 256
const MOST_BYTES = 64 * 1024
/** Read first, before it is known how fast reading is (each entry may be a page or two from a disk); the least ever. */
const FIRST_ENTRIES = 2
const LEAST_ENTRIES = 2
/** What a crossing may take. From a disk that is read page by page this is a handful of entries. */
const CROSSING_MS = 2

/** Reads a native cursor in slices of about one length of time, however fast its pages come. */
class Slices {
  constructor() {
    this._entries = FIRST_ENTRIES
  }

  /** The next packed entries; null at the end. */
  read(cursor, most = MOST_ENTRIES) {
    const entries = Math.min(most, this._entries)
    const start = performance.now()
    const packed = cursor.next(entries, MOST_BYTES)
    const ms = performance.now() - start
    const enough = ms > 0 ? Math.floor((entries * CROSSING_MS) / ms) : MOST_ENTRIES
    // It grows by steps: what comes may be slower than what came.
    this._entries = Math.max(LEAST_ENTRIES, Math.min(MOST_ENTRIES, this._entries * 2, enough))
    return packed
  }
}

/** How long a reader has kept the event loop from turning. */
class Pace {
  constructor() {
    this.begin()
  }

  begin() {
    this._since = performance.now()
  }

  /** Whether it is time to give way. */
  due() {
    return performance.now() - this._since >= GIVE_WAY_MS
  }

  /** Calls back when the event loop has turned. */
  turn(callback) {
    setImmediate(() => {
      this.begin()
      callback()
    })
  }
}

module.exports = { Pace, Slices }
