'use strict'

const { AbstractIterator, AbstractKeyIterator, AbstractValueIterator } = require('abstract-level')
const { FORM_KEYS } = require('../codec.js')
const { Rows, pickKey, pickValue } = require('./rows.js')
const { LevelError } = require('./errors.js')

/** @param {{ keys: boolean, values: boolean }} options */
function pickEntry({ keys, values }) {
  return (packed, key, keyEnd, valueEnd) => [
    keys ? pickKey(packed, key, keyEnd) : undefined,
    values ? pickValue(packed, key, keyEnd, valueEnd) : undefined
  ]
}

/** An iterator class of abstract-level over `Rows`: three differ only in what they hand out. */
function over(Abstract, pickFor, form) {
  return class extends Abstract {
    constructor(db, options) {
      // First, since it may throw: what super attaches to the database must be complete.
      const scan = db._scanner(options.snapshot, form)
      super(db, options)
      this._rows = new Rows(scan, options, pickFor(options))
      this._signal = options.signal ?? null
      this._check = () => {
        if (this._signal?.aborted) throw aborted(this._signal)
      }
    }

    async _next() {
      if (this._signal !== null) await this._awaitAbort()
      return this._rows.one(this._check)
    }

    async _nextv(size) {
      if (this._signal !== null) await this._awaitAbort()
      return this._rows.many(size, this._check)
    }

    async _all() {
      if (this._signal !== null) await this._awaitAbort()
      return this._rows.many(this.limit - this.count, this._check)
    }

    /** A read is synchronous: only before it can who asked for it still take it back. */
    async _awaitAbort() {
      await null
      this._check()
    }

    _seek(target) {
      this._rows.seek(target)
    }

    async _close() {
      this._rows.close()
    }
  }
}

function aborted(signal) {
  const error = new LevelError('LEVEL_ABORTED', 'Operation has been aborted', { cause: signal.reason })
  // As abstract-level's own: what AbortSignal is documented to give.
  Object.defineProperty(error, 'name', { value: 'AbortError' })
  return error
}

const EntryIterator = over(AbstractIterator, pickEntry)
const KeyIterator = over(AbstractKeyIterator, () => pickKey, FORM_KEYS)
const ValueIterator = over(AbstractValueIterator, () => pickValue)

module.exports = { EntryIterator, KeyIterator, ValueIterator }
