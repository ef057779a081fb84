import Core

// Starting requests.
extension BenchFlow {
  /// Begins on every slot at once: the first turn of a run.
  mutating func startAll() {
    hasStarted = true
    for index in slots.indices {
      switch slots[index].phase {
      case .idle:
        if isMultiplexed { release(index) }
        free(index, at: world.moment)
      case .closed where slots[index].retryAt == .never:
        if reuses { open(index) } else { free(index, at: world.moment) }
      default: break
      }
    }
  }

  /// The slot can take a request: now (closed loop), when one is overdue, or when one will be due.
  mutating func free(_ index: Int, at moment: Instant) {
    slots[index].idleSince = moment
    guard stage == .running, hasStarted, issued < quota, moment < end else {
      slots[index].deadline = .never
      return
    }
    guard let schedule else {
      start(index, intended: moment)
      return
    }
    slots[index].deadline = .never
    idle.push(index)
    // Whoever has been free for longer goes first; what is late then is our own lag, not a lack of connections.
    if schedule.due(issued) <= moment { startDue() }
  }

  /// Starts what is due on the connections that are free.
  mutating func startDue() {
    guard let schedule else { return }
    while idle.count > 0, issued < quota {
      let due = schedule.due(issued)
      let moment = world.moment
      guard due <= moment, due < end, let index = idle.pop() else { return }
      if due >= measureStart {
        if slots[index].idleSince <= due {
          tally.lag.record(UInt64(moment.nanoseconds(since: due)))
        } else {
          tally.waited &+= 1
        }
      }
      start(index, intended: due)
    }
  }

  private mutating func start(_ index: Int, intended: Instant) {
    let count = UInt64(min(Int64(plan.pipeline), Int64(clamping: quota - issued)))
    slots[index].startedAt = intended
    slots[index].outstanding = Int32(count)
    slots[index].deadline = world.now.advanced(byNanoseconds: plan.timeoutNanoseconds)
    busy += 1
    if intended >= measureStart { tally.started &+= count }
    slots[index].sequence = issued
    issued &+= count
    if reuses { transmit(index) } else { open(index) }
  }

  /// Sends the requests of the slot, which is connected.
  mutating func transmit(_ index: Int) {
    slots[index].phase = .head
    let place = Int(slots[index].place)
    let targets = targetsOf[place].count
    let stride = UInt64(plan.threads)
    let first = slots[index].sequence &* stride &+ thread
    if slots[index].outstanding == 1 && plan.keys.isEmpty {
      let target = targets == 1 ? 0 : Int(first % UInt64(targets))
      send(index, requests[targetsOf[place][target]])
      return
    }
    output.removeAll()
    for offset in 0..<UInt64(slots[index].outstanding) {
      let number = first &+ offset &* stride
      let target = targetsOf[place][Int(number % UInt64(targets))]
      let request = requests[target]
      output.append(request.bytes)
      if !plan.keys.isEmpty {
        output.append(plan.keys[Int(number % UInt64(plan.keys.count))])
        output.append(plan.requests[target].afterKey)
      }
    }
    send(index, output)
  }

  @inline(__always)
  private mutating func send(_ index: Int, _ bytes: ByteBuffer) {
    let total = bytes.count
    switch world.send(slots[index].socket, bytes.bytes) {
    case .count(let count) where count == total: return
    case .count(let count): keep(index, bytes, from: count)
    case .wouldBlock: keep(index, bytes, from: 0)
    case .ended, .failed: fail(index, world.failure(of: slots[index].socket))
    }
  }

  /// Sends the rest when there is room.
  private mutating func keep(_ index: Int, _ bytes: ByteBuffer, from sent: Int) {
    let rest = ByteBuffer(capacity: bytes.count - sent)
    rest.append(bytes.bytes.extracting(sent..<bytes.count))
    unsent[index] = rest
  }

  mutating func flush(_ index: Int) {
    guard let rest = unsent[index] else { return }
    while !rest.isEmpty {
      switch world.send(slots[index].socket, rest.bytes) {
      case .count(let count): rest.consume(count)
      case .wouldBlock: return
      case .ended, .failed:
        fail(index, world.failure(of: slots[index].socket))
        return
      }
    }
    unsent[index] = nil
  }
}
