import Core
import HTTP

// Opening, closing and giving up.
extension BenchFlow {
  /// The bits of a generation that tokens have room for: the highest three are others'.
  private static var generationMask: UInt32 { 0x1fff_ffff }

  @inline(__always)
  private func token(_ index: Int) -> UInt64 {
    UInt64(slots[index].generation & Self.generationMask) << 32 | UInt64(index)
  }

  mutating func ready(token: UInt64, _ readiness: Readiness) {
    let index = Int(token & 0xffff_ffff)
    guard index < slots.count, slots[index].generation & Self.generationMask == UInt32(token >> 32) else { return }
    switch slots[index].phase {
    case .closed: return
    case .connecting:
      if readiness.contains(.writable) || readiness.contains(.broken) { settleConnection(index) }
    default:
      if readiness.contains(.peerEnded) || readiness.contains(.broken) { slots[index].peerEnded = true }
      if unsent[index] != nil && readiness.contains(.writable) { flush(index) }
      if readiness != .writable { receiveAll(index) }
    }
  }

  /// Begins to connect slot `index`, which is closed.
  mutating func open(_ index: Int) {
    let moment = world.moment
    slots[index].generation &+= 1
    slots[index].retryAt = .never
    slots[index].peerEnded = false
    slots[index].connectedAt = moment
    if slots[index].outstanding == 0 {
      slots[index].deadline = moment.advanced(byNanoseconds: plan.timeoutNanoseconds)
    }
    if slots[index].wasOpen && reuses && moment >= measureStart { tally.reconnections &+= 1 }
    do throws(NetworkError) {
      slots[index].socket = try world.open(
        places[Int(slots[index].place)], of: plan, connection: index % connections, token: token(index))
      slots[index].phase = .connecting
      connecting += 1
      if world.isEstablished(slots[index].socket) { settleConnection(index) }
    } catch {
      connectFailed(index, error)
    }
  }

  private mutating func settleConnection(_ index: Int) {
    if let failure = world.connectFailure(slots[index].socket) {
      world.close(slots[index].socket, reset: false)
      connecting -= 1
      connectFailed(index, failure)
      return
    }
    connecting -= 1
    openCount += 1
    let moment = world.moment
    slots[index].phase = .idle
    slots[index].wasOpen = true
    if stage == .opening { streamsAllowed = min(streamsAllowed, world.streamLimit(of: slots[index].socket)) }
    if isMultiplexed ? stage == .opening : moment >= measureStart || stage == .opening {
      tally.connect.record(UInt64(max(0, moment.nanoseconds(since: slots[index].connectedAt))))
    }
    if slots[index].outstanding > 0 { transmit(index) } else { free(index, at: moment) }
  }

  private mutating func connectFailed(_ index: Int, _ error: NetworkError) {
    lastFailure = error
    let moment = world.moment
    slots[index].phase = .closed
    slots[index].generation &+= 1
    slots[index].deadline = .never
    slots[index].retryAt = moment.advanced(byNanoseconds: Self.retryNanoseconds)
    nextSweep = min(nextSweep, slots[index].retryAt)
    let startedAt = slots[index].startedAt
    if slots[index].outstanding > 0 {
      slots[index].outstanding = 0
      busy -= 1
      if startedAt >= measureStart { tally.fail(.connect) }
    } else if moment >= measureStart && stage == .running {
      tally.fail(.connect)
    }
  }

  /// Lets a stream go that only opened its connection.
  mutating func release(_ index: Int) {
    world.close(slots[index].socket, reset: true)
    openCount -= 1
    slots[index].phase = .closed
    slots[index].generation &+= 1
    slots[index].socket = .none
  }

  /// Counts what was under way as failed and begins anew.
  mutating func fail(_ index: Int, _ kind: BenchFailure) {
    let outstanding = slots[index].outstanding
    if outstanding > 0 && slots[index].startedAt >= measureStart { tally.fail(kind, count: Int(outstanding)) }
    retire(index, reset: true)
  }

  /// Closes the connection and makes the slot useful again.
  mutating func retire(_ index: Int, reset: Bool) {
    world.close(slots[index].socket, reset: reset)
    if slots[index].phase == .connecting { connecting -= 1 } else { openCount -= 1 }
    if slots[index].phase == .idle && schedule != nil { idle.remove(index) }
    if slots[index].outstanding > 0 {
      slots[index].outstanding = 0
      busy -= 1
    }
    slots[index].phase = .closed
    slots[index].generation &+= 1
    slots[index].deadline = .never
    slots[index].socket = .none
    leftovers[index]?.removeAll()
    unsent[index] = nil
    // What is lost before the clock starts is opened again when it does.
    guard stage == .running else { return }
    if reuses {
      open(index)
    } else {
      free(index, at: world.moment)
    }
  }

  /// Gives up what has taken too long, and tries again what was refused.
  mutating func sweep() {
    let now = world.now
    nextSweep = now.advanced(byNanoseconds: sweepNanoseconds)
    for index in slots.indices {
      if slots[index].deadline <= now {
        if slots[index].phase == .connecting && slots[index].outstanding == 0 {
          world.close(slots[index].socket, reset: true)
          connecting -= 1
          connectFailed(index, .timedOut)
        } else {
          fail(index, .timeout)
        }
      } else if slots[index].retryAt <= now {
        slots[index].retryAt = .never
        if hasStarted && stage == .running {
          if reuses { open(index) } else { free(index, at: world.moment) }
        }
      } else if slots[index].retryAt < nextSweep {
        nextSweep = slots[index].retryAt
      }
    }
  }
}
