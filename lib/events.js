'use strict'

const { MultiHyperbeeError } = require('./errors.js')

/** What is emitted as it comes, and what with. */
const DIRECT = {
  update: ({ from, to }) => [from, to],
  writable: () => [],
  unwritable: () => [],
  writer: ({ key, flag }) => [{ key, added: flag }],
  'peer-remove': ({ key }) => [key],
  drift: ({ key, to }) => [{ writer: key, ahead: to }],
  fork: ({ key, to, data }) => [{ feed: key, length: to, proof: data }],
  finalized: ({ to }) => [to],
  'upgrade-needed': ({ key }) => [{ feed: key }]
}

/** Turns what the core reports into the events of a database. */
class Events {
  constructor(db, session) {
    /** The last error, for `status()`. */
    this.error = null
    this._db = db
    this._session = session
    this._warned = new Set()
  }

  /** Called by the core's weak, coalesced wake-up. */
  take(native) {
    if (this._session.state === 'closed') return
    const events = native.takeEvents()
    if (events.length === 0) return
    this._session.changed()
    for (const event of events) this._emit(event)
  }

  _emit(event) {
    const db = this._db
    const { kind, key } = event
    if (Object.hasOwn(DIRECT, kind)) db.emit(kind, ...DIRECT[kind](event))
    else if (kind === 'peer-add') db.emit('peer-add', db._members.peer(key))
    else if (kind === 'progress') db._mode?.progress()
    else if (kind === 'access-request') db._access.heard(event)
    else if (kind === 'synced') this._synced(event.to)
    else if (kind === 'diverged') this._diverged(event)
    else if (kind === 'moved') db.emit('diverged', { feed: key, length: event.to })
    else if (kind === 'error') this.report(MultiHyperbeeError.from(new Error(event.error)))
  }

  _synced(id) {
    const stream = this._db.store._shared.streams.get(id)
    if (stream !== undefined) this._db.emit('synced', stream)
  }

  _diverged({ key: ours, data: theirs, to: id }) {
    const peer = this._db.store._shared.streams.get(id) ?? null
    this._db.emit('diverged', { ours, theirs, peer })
  }

  /** An error nobody awaited: to whoever listens, else kept, and a warning once per code. */
  report(error) {
    this.error = error
    if (this._db.listenerCount('error') > 0) {
      this._db.emit('error', error)
      return
    }
    if (this._warned.has(error.code)) return
    this._warned.add(error.code)
    process.emitWarning(error.message, { type: 'MultiHyperbeeWarning', code: error.code })
  }
}

module.exports = { Events }
