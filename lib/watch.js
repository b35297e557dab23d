'use strict'

const { EventEmitter } = require('node:events')
const { MultiHyperbeeError } = require('./errors.js')
const { aborted } = require('./wait.js')

/** What a watcher and an entry watcher share: an end, by `close`, a signal, or the database's end. */
class Watching extends EventEmitter {
  constructor(view, options) {
    super()
    if (view._at !== null) {
      throw new MultiHyperbeeError(
        'ERR_OPTIONS',
        'a snapshot does not change: watch the database or a sub of it'
      )
    }
    this.closed = false
    this._view = view
    this._error = null
    this._signal = options?.signal
    this._onabort = () => this._end(aborted(this._signal, 'watching'))
    this._unlisten = view._session.listen(() => this._changed())
    view._session.open.add(this)
    this._signal?.addEventListener('abort', this._onabort)
    if (this._signal?.aborted) this._onabort()
  }

  async close() {
    this._end(null)
  }

  destroy() {
    this._end(null)
  }

  /** Called when the database closes. */
  end() {
    this._end(null)
  }

  _end(error) {
    if (this.closed) return
    this.closed = true
    this._error = error
    this._unlisten()
    this._view._session.open.delete(this)
    this._signal?.removeEventListener('abort', this._onabort)
    this._changed()
    this.emit('close')
  }
}

/** An async iterator of `[current, previous]`, each time something in the range has changed; changes coalesce. */
class Watcher extends Watching {
  constructor(view, range, options = {}) {
    super(view, options)
    this._range = range
    this._options = options
    /** Snapshots: the one last yielded or skipped, and those a consumer holds. */
    this._current = null
    this._yielded = []
    this._handed = null
    /** A snapshot of its own: what listeners were last told. */
    this._noticed = null
    this._noticing = false
    this._wake = () => {}
    this._tail = Promise.resolve()
    if (view._session.state === 'open') this._begin()
    this._opening = this.ready()
    this._opening.catch(() => {})
  }

  async ready() {
    await this._view._session.ready()
    if (this._current === null) this._begin()
  }

  [Symbol.asyncIterator]() {
    return this
  }

  /** Calls wait for one another. */
  next() {
    const next = this._tail.then(() => this._next())
    this._tail = next.catch(() => {})
    return next
  }

  async return() {
    await this.close()
    return { value: undefined, done: true }
  }

  _begin() {
    // Eager: what is there already counts as a change.
    const first = () => (this._options.eager ? this._view.checkout(0, this._options) : this._snapshot())
    this._current = first()
    this._noticed = first()
    this._changed()
  }

  _snapshot() {
    return this._view.snapshot(this._options)
  }

  async _next() {
    try {
      const pair = await this._changedPair()
      if (pair !== null) return { value: await this._hand(...pair), done: false }
    } catch (error) {
      // The database closed under a comparison: that is an end like any other.
      if (this._error !== null || this._view._session.state === 'open') throw this._error ?? error
    }
    return { value: undefined, done: true }
  }

  /** The next two snapshots that differ; null once it is closed. */
  async _changedPair() {
    if (!this.closed) await this._opening
    for (;;) {
      if (this._error !== null) throw this._error
      if (this.closed) return null
      const woken = new Promise((resolve) => (this._wake = resolve))
      const [current, previous] = [this._snapshot(), this._current]
      const differs = await this._differs(current, previous)
      // Closed meanwhile: that comes first.
      if (this.closed) continue
      this._current = current
      if (differs) return [current, previous]
      // The one handed out last is closed with the next pair.
      if (previous !== this._handed) await previous.close()
      await woken
    }
  }

  async _hand(current, previous) {
    await Promise.all(this._yielded.map((view) => view.close()))
    this._yielded = [previous]
    this._handed = current
    const { map = (view) => view } = this._options
    return [map(current), map(previous)]
  }

  async _differs(current, previous) {
    if (current.version === previous.version) return false
    const { differ = (now, before, options) => now.createDiffStream(before, options) } = this._options
    for await (const _ of differ(current, previous, { ...this._range, limit: 1 })) return true
    return false
  }

  /** Something was written somewhere: wakes the iterator, and tells who listens if it was in the range. */
  _changed() {
    this._wake?.()
    const heard = this._options?.onchange || this.listenerCount('update') > 0
    if (this._noticing || this.closed || this._noticed === null || !heard) return
    this._noticing = true
    this._notice()
      .catch((error) =>
        this._end(this._view._session.state === 'open' ? MultiHyperbeeError.from(error) : null)
      )
      .finally(() => (this._noticing = false))
  }

  async _notice() {
    while (!this.closed) {
      const [current, previous] = [this._snapshot(), this._noticed]
      if (current.version === previous.version) return current.close()
      this._noticed = current
      const differs = await this._differs(current, previous)
      await previous.close()
      if (!differs || this.closed) continue
      await this._options.onchange?.()
      this.emit('update')
    }
  }
}

/** One key's entry, kept current: `node`, and `update` when it changed. */
class EntryWatcher extends Watching {
  constructor(view, key, options) {
    super(view, options)
    this._key = key
    this._options = options
    this.node = null
  }

  async ready() {
    await this._view._session.ready()
    this.node = this._view.getSync(this._key, this._options)
  }

  _changed() {
    const { state } = this._view._session
    if (this.closed || state !== 'open') return
    const node = this._view.getSync(this._key, this._options)
    if (node?.seq === this.node?.seq) return
    this.node = node
    this.emit('update')
  }
}

module.exports = { Watcher, EntryWatcher }
