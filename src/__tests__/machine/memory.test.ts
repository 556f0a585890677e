import { expect, test } from 'vitest'
import {
  bareForbidden,
  CURSORS,
  connect,
  doubtful,
  opened,
  POLICY,
  probed,
  proved,
  refused,
  startMachine,
  streamFailed,
  succeeded,
  suspended,
  wake,
  welcome,
} from '../support/machine'

// What the machine remembers of earlier streams, and for how long.

/** A line that is open, on a server without sessions, and that can be probed. */
function openMachine() {
  const machine = startMachine()
  machine.send(connect, opened, welcome([], ['probe']))
  expect(machine.leaf).toBe('steady')
  return machine
}

test('C75: a doubt that no probe answers costs the trust, until a POST is taken', () => {
  const machine = openMachine()
  machine.send(doubtful)
  expect([machine.leaf, machine.context.trust]).toEqual(['doubting', 'kept'])
  machine.clock.advance(POLICY.timeouts.probe)
  expect([machine.leaf, machine.context.trust]).toEqual(['backoff', 'lost'])
  machine.send(wake(), opened, welcome([], ['probe']))
  expect([machine.leaf, machine.context.trust]).toEqual(['steady', 'lost'])
  machine.send(proved)
  expect([machine.leaf, machine.context.trust]).toEqual(['steady', 'kept'])
})

test('C75: the attempts are counted on, however long the stream stays open, until it is trusted', () => {
  const machine = openMachine()
  machine.send(doubtful)
  machine.clock.advance(POLICY.timeouts.probe)
  machine.send(wake(), opened, welcome([], ['probe']))
  machine.clock.advance(POLICY.backoff.stableDelay)
  expect(machine.context.attempt).toBe(1)
  // The time without a reset begins anew with the first POST that was taken.
  machine.send(proved)
  machine.clock.advance(POLICY.backoff.stableDelay - 1)
  expect(machine.context.attempt).toBe(1)
  machine.clock.advance(1)
  expect(machine.context.attempt).toBe(0)
})

test('I14: a farewell is forgotten once its stream is resumed', () => {
  const machine = openMachine()
  machine.send(suspended())
  expect([machine.leaf, machine.context.farewell]).toEqual(['suspended', 'said'])
  machine.send(wake())
  expect([machine.leaf, machine.context.farewell]).toEqual(['posting', 'said'])
  machine.send(succeeded())
  machine.send(probed(`p${machine.context.probes}`))
  expect([machine.leaf, machine.context.farewell]).toEqual(['steady', 'none'])
})

test('C63: a 403 without a word counts with those before it, unless something else failed between', () => {
  const machine = startMachine()
  machine.send(connect, refused(bareForbidden), wake(), refused(bareForbidden))
  expect(machine.context.refusals).toBe(2)
  machine.send(wake(), streamFailed())
  expect(machine.context.refusals).toBe(0)
})

test.each([
  ['after a farewell, and the server can be probed', { farewell: true, probe: true, leftOvers: [] }, 'probing'],
  ['after a farewell, and it cannot', { farewell: true, probe: false, leftOvers: [] }, 'steady'],
  ['after a farewell, but something is left over', { farewell: true, probe: true, leftOvers: CURSORS }, 'posting'],
  ['without a farewell', { farewell: false, probe: true, leftOvers: [] }, 'steady'],
] as const)('I14: a resume that is answered without a marker proves the stream: %s', (_, given, expected) => {
  const { farewell, probe, leftOvers } = given
  const machine = startMachine()
  machine.send(connect, opened, welcome(farewell ? [] : CURSORS, probe ? ['probe'] : []))
  if (farewell) machine.send(suspended(CURSORS), wake())
  expect(machine.leaf).toBe('posting')
  machine.send(succeeded(leftOvers))
  expect(machine.leaf).toBe(expected)
})
