'use strict'

const { MultiHyperbeeError } = require('./errors.js')
const { ReplicationStream } = require('./replication-stream.js')
const { attachToConnection } = require('./protomux.js')

/** Connections that already carry a session, by Protomux or plain stream: a second one would be a second handshake. */
const attached = new WeakMap()

/**
 * `replicate(isInitiator)`, `replicate(isInitiator, { stream })` or `replicate(stream)`, of a database or a store.
 *
 * @param {{ owner: object, open: Function, offer: Function, db: object | null }} source `owner` shares one session per connection;
 *   `open(peerOptions, wake)` resolves to the native peer; `offer(peer)` makes one that is there carry this too
 * @returns {ReplicationStream}
 */
function replicate(source, isInitiatorOrStream, options) {
  const given = options ?? {}
  checkOptions(given)
  const flag = typeof isInitiatorOrStream === 'boolean'
  const connection = flag ? given.stream : isInitiatorOrStream
  if (connection == null && !flag) throw wrong('replicate takes isInitiator (true or false) or a stream')
  if (connection == null) return create(source, { initiator: isInitiatorOrStream, ...given })
  if (typeof connection.pipe !== 'function') throw wrong('replicate takes true, false, or a duplex stream')
  const shared = attached.get(connection)
  if (shared !== undefined && !shared.stream.destroyed) {
    if (shared.owner === source.owner) return join(source, shared.stream)
    throw wrong('this connection already carries another store: open the databases in one Store')
  }
  const stream = isEncrypted(connection)
    ? overProtomux(source, connection, given)
    : overPlain(source, connection, flag ? isInitiatorOrStream : given.isInitiator, given)
  attached.set(connection, { owner: source.owner, stream })
  return stream
}

function create(source, options) {
  const stream = new ReplicationStream(source.open, options)
  const { owner } = source
  stream.on('open', () => owner.streams.set(stream.id, stream))
  stream.on('close', () => owner.streams.delete(stream.id))
  return report(source, stream)
}

/** A further database, or all of the store, on a connection that already carries one. */
function join(source, stream) {
  if (stream.reporting.has(source.db)) return stream
  stream.join(source.offer)
  return report(source, stream)
}

/** A listener of its own: the error of one connection never reaches the process. */
function report({ owner, db }, stream) {
  stream.reporting.add(db)
  stream.on('error', (error) => {
    if (db === null) {
      owner.peerErrors.add(error)
      return
    }
    db._progress.peerErrors.add(error)
    db._session.changed()
    db.emit('peer-error', error, stream)
  })
  return stream
}

/** A Hyperswarm connection: encrypted already, and shared with whoever else speaks over it. */
function overProtomux(source, connection, options) {
  const handshakeHash = async () => {
    if (connection.handshakeHash == null) await opened(connection)
    return connection.handshakeHash
  }
  const stream = create(source, { initiator: Boolean(connection.isInitiator), handshakeHash, ...options })
  attachToConnection(stream, connection)
  return stream
}

function overPlain(source, connection, isInitiator, options) {
  const initiator = isInitiator ?? guessInitiator(connection)
  const stream = create(source, { initiator, ...options })
  const end = (error) => stream.destroy(error ?? undefined)
  connection.on('error', end)
  connection.on('close', () => end(null))
  stream.on('close', () => connection.destroy())
  connection.pipe(stream).pipe(connection)
  return stream
}

/** Of a socket: whoever connected. Of anything else nobody knows. */
function guessInitiator(connection) {
  if (typeof connection.connect === 'function') return connection.server == null
  throw wrong('which side starts on this stream? use replicate(isInitiator, { stream })')
}

function isEncrypted(connection) {
  return 'handshakeHash' in connection
}

async function opened(connection) {
  const isOpen = await connection.opened
  if (isOpen === false || connection.handshakeHash == null) {
    throw new MultiHyperbeeError('ERR_PROTOCOL', 'the connection closed before it was open')
  }
}

function checkOptions({ live, download, upload, timeout, userData }) {
  for (const [name, value] of Object.entries({ live, download, upload })) {
    if (value !== undefined && typeof value !== 'boolean') throw wrong(`${name} must be true or false`)
  }
  if (timeout !== undefined && !(timeout >= 0)) throw wrong('timeout must be a number of milliseconds')
  if (userData !== undefined && userData !== null && !(userData instanceof Uint8Array)) {
    throw wrong('userData must be a Buffer')
  }
}

function wrong(message) {
  return new MultiHyperbeeError('ERR_OPTIONS', message)
}

module.exports = { replicate }
