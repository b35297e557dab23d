'use strict'

/** Acknowledges, if this replica is an indexer, what it has seen: so that it becomes final. */
class Acknowledging {
  /**
   * @param {import('./driver.js').Driver} driver
   * @param {number} interval milliseconds; 0: never
   */
  constructor(driver, interval) {
    this._driver = driver
    this._interval = interval
    this._native = null
    this._timer = null
  }

  start(native) {
    this._native = native
  }

  /** Called whenever what is here is applied. */
  look() {
    if (this._interval === 0 || this._timer !== null || !this._native.ackWanted()) return
    this._timer = setTimeout(() => this._due(), this._interval).unref()
  }

  stop() {
    clearTimeout(this._timer)
  }

  _due() {
    this._timer = null
    // What comes of it is not waited for; the next look finds out whether it is still wanted.
    this._driver.exclusively(() => this._native.acknowledge()).catch(() => {})
  }
}

module.exports = { Acknowledging }
