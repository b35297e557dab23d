'use strict'

const { translated } = require('./errors.js')

/** Errors of connections that are kept: one that fails again and again does not fill the memory. */
const MAX_PEER_ERRORS = 16

/** Where replication stands, out of what the core says and what only JavaScript knows. */

/** @returns {object[]} each connection, with the stream that carries it */
function peersOf(peers, streams) {
  return peers.map((peer) => ({
    ...peer,
    stream: streams.get(peer.id) ?? null,
    feeds: peer.feeds.map((feed) => ({
      ...feed,
      asked: span(feed.asked),
      sending: span(feed.sending),
      idle: feed.idle ?? null
    }))
  }))
}

function span(pair) {
  return pair === undefined ? null : { start: pair[0], end: pair[1] }
}

function reasonOf(reason) {
  if (reason === undefined) return null
  const { code, message, feed = null, on, length, peer = null } = reason
  return { code, message, feed, on: on === undefined ? null : { key: on, length }, peer }
}

function feedsOf(feeds) {
  return feeds.map((feed) => ({ ...feed, reason: reasonOf(feed.reason) }))
}

/** Of a database that is open. */
function syncStatus(native, streams) {
  return fromNative(
    translated(() => native.syncStatus()),
    streams
  )
}

function fromNative({ synced, feeds, unlisted, peers, reason }, streams) {
  return {
    synced,
    reason: reasonOf(reason),
    feeds: feedsOf(feeds),
    unlisted,
    peers: peersOf(peers, streams)
  }
}

/** Of a database that is not open: nothing is known yet, or any more. */
function nothing() {
  return { synced: false, reason: null, feeds: [], unlisted: 0, peers: [] }
}

/** Why applying stands still, which the core does not know. */
function pauseOf({ kind, error }, interrupted) {
  const message =
    kind === 'interrupted'
      ? `apply was interrupted (${String(interrupted)}): call update() to go on`
      : `apply failed and nothing more is applied: ${error.message}; mend it, then call update() or open the database again`
  return { code: 'apply-paused', message, feed: error?.writer ?? null, on: null, peer: null }
}

/** The latest errors of connections, oldest first. */
class PeerErrors {
  constructor() {
    this._kept = []
  }

  add(error) {
    this._kept.push({ error, at: Date.now() })
    if (this._kept.length > MAX_PEER_ERRORS) this._kept.shift()
  }

  list() {
    return [...this._kept]
  }
}

module.exports = { syncStatus, fromNative, nothing, pauseOf, reasonOf, peersOf, PeerErrors }
