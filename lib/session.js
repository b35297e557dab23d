'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { WriteQueue } = require('./write-queue.js')

/**
 * An open database as everything of one handle shares it: the native object, its life cycle, its write queue, and who
 * wants to know that something changed.
 */
class Session {
  /** @param {() => Promise<object>} open resolves to the native database */
  constructor(open) {
    this.state = 'opening'
    this.queue = new WriteQueue(() => this._writable())
    /** What never changes, once it is open. */
    this.info = null
    /** Ended by close, each by its `end(error)`: streams, batches, waits. */
    this.open = new Set()
    /** Who runs this handle's mergeHandler and resolver, if it has any. */
    this.merger = null
    /** What close waits for besides the queue: functions. */
    this.finishing = new Set()
    this._native = null
    this._listeners = new Set()
    this._opening = this._open(open)
    this._closing = null
    // Whoever waits gets the failure; nobody waiting is no unhandled rejection.
    this._opening.catch(() => {})
  }

  async _open(open) {
    try {
      const native = await open()
      this.info = native.info()
      this._native = native
      if (this.state === 'opening') this.state = 'open'
      this.queue.start()
      return native
    } catch (cause) {
      const error = MultiHyperbeeError.from(cause)
      this.queue.fail(error)
      throw error
    }
  }

  /** The native database, now. */
  native() {
    if (this.state === 'open') return this._native
    if (this.state === 'opening') {
      throw new MultiHyperbeeError('ERR_NOT_READY', 'the database is still opening: await ready() first')
    }
    throw closed()
  }

  /** The native database, when it is open. */
  async ready() {
    if (this.state === 'open') return this._native
    if (this.state !== 'opening') throw closed()
    const native = await this._opening
    if (this.state !== 'open') throw closed()
    return native
  }

  /** The native database, after everything that was queued before. */
  async settled() {
    const native = await this.ready()
    await translatedAsync(translated(() => native.write(Buffer.alloc(4))))
    return native
  }

  /** For the queue: what was accepted before close is still written while it closes. */
  _writable() {
    if (this._native === null || this.state === 'closed') throw closed()
    return this._native
  }

  /** Calls one of them when it has opened, or has not, before anybody who awaits it goes on. */
  whenOpen(opened, failed) {
    this._opening.then(opened, failed)
  }

  /** Throws unless calls are still accepted. */
  accept() {
    if (this.state === 'closing' || this.state === 'closed') throw closed()
  }

  /** Tells whoever waits that something may have changed. */
  changed() {
    for (const listener of [...this._listeners]) listener()
  }

  /** @returns {() => void} stops listening */
  listen(listener) {
    this._listeners.add(listener)
    return () => this._listeners.delete(listener)
  }

  /** Ends what is open, waits for what was accepted, closes the native database. Idempotent. */
  close() {
    if (this._closing === null) this._closing = this._close()
    return this._closing
  }

  async _close() {
    this.state = 'closing'
    // A failure to open was reported where the database was used.
    await this._opening.catch(() => {})
    for (const one of [...this.open]) one.end(closed())
    await this.queue.drained()
    for (const finish of this.finishing) await finish()
    this.state = 'closed'
    this.merger?.close()
    if (this._native !== null) await translatedAsync(this._native.close())
  }
}

async function translatedAsync(promise) {
  try {
    return await promise
  } catch (error) {
    throw MultiHyperbeeError.from(error)
  }
}

function closed() {
  return new MultiHyperbeeError(
    'ERR_CLOSED',
    'the database is closed: open it again with new MultiHyperbee()'
  )
}

module.exports = { Session, closed, translatedAsync }
