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

  const end = () => {
    over = true
    stream.destroy()
    return { value: undefined, done: true }
  }
  const step = () => {
    if (failed !== null || over || stream.destroyed) return fail()
    if (index === chunk.length) {
      chunk = nextChunk()
      index = 0
      if (chunk === null) return end()
    }
    return { value: chunk[index++], done: false }
  }
  const fail = () => {
    const error = failed ?? stream.errored
    if (error && !over) {
      over = true
      throw error
    }
    return end()
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
    async return() {
      return end()
    },
    [Symbol.asyncIterator]() {
      return this
    }
  }
}

module.exports = { iterate }
