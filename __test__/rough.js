'use strict'

// What = connections as networks make them: `MULTI_HYPERBEE_TEST_WIRE` makes every connection of helpers.js one of
// these. `split`: each frame arrives byte by byte. `delay`: each arrives some milliseconds late. `cut`: the
// connection ends without a word after some bytes, and both sides meet again. `MULTI_HYPERBEE_TEST_SEED` is what all
// of it is drawn from.
const { Transform } = require('node:stream')
const { setTimeout: sleep } = require('node:timers/promises')

const wire = process.env.MULTI_HYPERBEE_TEST_WIRE ?? 'plain'
const WIRES = ['plain', 'split', 'delay', 'cut']
if (!WIRES.includes(wire)) throw new Error(`MULTI_HYPERBEE_TEST_WIRE is one of ${WIRES.join(', ')}`)

/** Beyond so many bytes a chunk comes in larger pieces, or a megabyte would take a minute. */
const BYTE_BY_BYTE = 2048
const LARGEST_DELAY = 12
/** A connection lasts for so many bytes at first. Each later one lasts half as long again, so that all arrives. */
const FIRST_LIFE = 600

let state = BigInt(process.env.MULTI_HYPERBEE_TEST_SEED ?? 1)

/** A number below `bound`: splitmix64, so that a failing run can be had again. */
function below(bound) {
  state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n)
  let mixed = state
  mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n)
  mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn)
  return Number((mixed ^ (mixed >> 31n)) % BigInt(bound))
}

function split() {
  return new Transform({
    transform(chunk, _, done) {
      for (let at = 0; at < chunk.length;) {
        const size = chunk.length <= BYTE_BY_BYTE ? 1 : 1 + below(1500)
        this.push(chunk.subarray(at, at + size))
        at += size
      }
      done()
    }
  })
}

function delay() {
  return new Transform({
    transform(chunk, _, done) {
      setTimeout(done, below(LARGEST_DELAY), null, chunk)
    }
  })
}

/** Lets `life` bytes pass, some of them perhaps the first part of a frame, and then calls `over`. */
function cutAfter(life, over) {
  let left = life
  return new Transform({
    transform(chunk, _, done) {
      const passed = chunk.subarray(0, left)
      left -= passed.length
      if (left === 0) over()
      done(null, passed)
    }
  })
}

function join(one, two, middle) {
  one.pipe(middle()).pipe(two).pipe(middle()).pipe(one)
}

/**
 * Two replication streams, piped together as the wire of this run has it. `again` makes the next two after a cut, or
 * null when there is nobody left; where it is null itself, nothing is cut. The first two stand for all: to destroy one
 * of them ends it.
 */
function connectRoughly([one, two], again) {
  if (wire === 'split') join(one, two, split)
  else if (wire === 'delay') join(one, two, delay)
  else if (wire === 'cut' && again !== null) cutAndMeet([one, two], again)
  else one.pipe(two).pipe(one)
}

function cutAndMeet(first, again) {
  let current = first
  let isOver = false
  const destroyed = first.map((stream) => stream.destroy.bind(stream))
  for (const [n, stream] of first.entries()) {
    stream.destroy = (error) => {
      isOver = true
      if (current !== first) for (const other of current) other.destroy(error)
      destroyed[n](error)
      return stream
    }
  }
  const live = (life) => {
    const streams = current
    let isCut = false
    const cut = () => {
      if (isOver || isCut) return
      isCut = true
      // What went through arrives, and nothing after it.
      setImmediate(async () => {
        for (const [n, stream] of streams.entries()) {
          if (streams === first) destroyed[n]()
          else stream.destroy()
        }
        await sleep(below(20))
        const next = isOver ? null : again()
        if (next === null) return
        current = next
        live(Math.ceil(life * 1.5))
      })
    }
    for (const stream of streams) stream.on('close', () => (isOver ||= !isCut))
    join(streams[0], streams[1], () => cutAfter(1 + below(life), cut))
  }
  live(FIRST_LIFE)
}

module.exports = { wire, connectRoughly }
