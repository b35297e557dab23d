'use strict'

const { MultiHyperbeeError } = require('../errors.js')

/** The user's `open`, `update` and `close`, and what is said when `apply` fails. */
class Handlers {
  /**
   * @param {object} db
   * @param {import('./read-only-bee.js').ReadOnlyBee} bee
   * @param {{ open: Function | null, update: Function | null, close: Function | null }} handlers
   */
  constructor(db, bee, handlers) {
    /** What is read: `open`'s, or the bee itself. */
    this.view = handlers.open?.(bee, db) ?? bee
    this._db = db
    this._handlers = handlers
    this._changes = null
    this._updating = null
    this._said = null
  }

  /** The view moved. `update` is told, one call at a time: what comes while it is busy is one change. */
  updated({ from, to, shared }) {
    if (this._handlers.update === null || from === to) return
    const before = this._changes
    this._changes =
      before === null
        ? { from, to, shared }
        : { from: before.from, to, shared: Math.min(before.shared, shared) }
    if (this._updating === null) this._updating = this._tell().finally(() => (this._updating = null))
  }

  /** `apply` threw. @returns {MultiHyperbeeError} what is told of it, once for each batch */
  failed(cause, batch) {
    const [writer, length] = [batch.writer, batch.seq + batch.entries]
    const reason = cause instanceof Error ? cause.message : String(cause)
    const what = `apply failed at length ${length} of the feed ${writer.toString('hex')}: ${reason}`
    const error = new MultiHyperbeeError('ERR_APPLY', `${what}; nothing is lost: mend it and call update()`, {
      cause
    })
    Object.assign(error, { writer, length })
    const said = `${writer.toString('hex')} ${length} ${reason}`
    const reports = this._db._reports
    if (this._said?.said === said) reports.error = error
    else reports.report(error)
    this._said = { said, error }
    return error
  }

  async close(runner) {
    const { close } = this._handlers
    if (close === null) return
    const opened = [this.view, runner.view].filter((view) => view !== null)
    for (const view of opened) await this._guarded('close', () => close(view))
  }

  /** What had failed is applied: it is no news any more. */
  recovered() {
    const reports = this._db._reports
    if (this._said !== null && reports.error?.code === 'ERR_APPLY') reports.error = null
    this._said = null
  }

  async _tell() {
    while (this._changes !== null) {
      const change = this._changes
      this._changes = null
      await this._guarded('update', () => this._handlers.update(this.view, new Map([['view', change]])))
    }
  }

  /** Runs what is the user's: what it throws is reported, and stops nothing. */
  async _guarded(name, call) {
    try {
      await call()
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      this._db._reports.report(
        new MultiHyperbeeError('ERR_APPLY', `the ${name} handler threw: ${reason}`, { cause })
      )
    }
  }
}

module.exports = { Handlers }
