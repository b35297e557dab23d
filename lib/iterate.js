'use strict'

/** A loop over entries that are all here would hold up everything else: after so many milliseconds it gives way. */
const GIVE_WAY_MS = 5

/**
 * Iterates over the chunks of a stream that nobody else reads, without a detour through its buffer.
 *
 * @param {import('node:stream').Readable} stream ended early, it is destroyed; its errors end the iteration
 * @param {() => any[] | null} nextChunk the next entries, at least one; null at the end
 * @param {() => Promise<void>} opened
 */
function iterate(stream, nextChunk, opened) {
  let chunk = []
  let index = 0
  let failed = null
  let over = false
  let isOpen = false
  let since = performance.now()
  stream.once('error', (error) => (failed = error))

  const closed = () =>
    stream.closed ? Promise.resolve() : new Promise((resolve) => stream.once('close', resolve))
  const end = async () => {
    over = true
    stream.destroy()
    await closed()
    return { value: undefined, done: true }
  }
  /** Somebody else has destroyed the stream. */
  const cut = async () => {
    over = true
    await closed()
    throw failed ?? stream.errored ?? prematureClose()
  }
  const step = () => {
    if (over) return { value: undefined, done: true }
    if (stream.destroyed) return cut()
    if (index === chunk.length) {
      try {
        chunk = nextChunk()
      } catch (error) {
        stream.destroy(error)
        return cut()
      }
      index = 0
      if (chunk === null) return end()
    }
    return { value: chunk[index++], done: false }
  }
  const givesWay = () => {
    const now = performance.now()
    if (now - since < GIVE_WAY_MS) return false
    since = now
    return true
  }
  return {
    async next() {
      if (!isOpen) {
        await opened()
        isOpen = true
      } else if (index === chunk?.length && givesWay()) {
        await new Promise((resolve) => setImmediate(resolve))
        since = performance.now()
      }
      return step()
    },
    return() {
      return end()
    },
    [Symbol.asyncIterator]() {
      return this
    }
  }
}

/** As Node says it of its own streams. */
function prematureClose() {
  return Object.assign(new Error('Premature close'), { code: 'ERR_STREAM_PREMATURE_CLOSE' })
}

module.exports = { iterate }
