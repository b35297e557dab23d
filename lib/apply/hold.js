'use strict'

const LONGEST_MS = 2 ** 31 - 1

/** Keeps the process up while something accepted is unfinished. */
class Hold {
  constructor() {
    this._timer = null
  }

  take() {
    this._timer ??= setInterval(() => {}, LONGEST_MS)
  }

  release() {
    clearInterval(this._timer)
    this._timer = null
  }
}

module.exports = { Hold }
