'use strict'

/** A loop over entries that are all here would hold up everything else: after so many milliseconds it gives way. */
const GIVE_WAY_MS = 5

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

module.exports = { Pace }
