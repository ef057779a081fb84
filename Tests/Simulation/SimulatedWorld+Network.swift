import Core

extension SimulatedWorld {
  // MARK: Links

  /// Stops everything on connections to `address`, as when a cable is pulled: nothing is lost, nothing arrives.
  public func freeze(_ address: SocketAddress) { frozen.append(address) }

  /// Lets what was frozen arrive.
  public func thaw(_ address: SocketAddress) {
    frozen.removeAll { $0 == address }
    release()
  }

  /// Stops everything from one host to another, and nothing in the other direction. Nothing is lost: the sender's kernel
  /// repeats it until the link is mended, connection attempts too.
  public func cut(from: IPAddress, to: IPAddress) { cuts.append((from, to)) }

  /// Lets what was cut arrive.
  public func mend(from: IPAddress, to: IPAddress) {
    cuts.removeAll { $0 == (from, to) }
    release()
  }

  private func isHeld(_ stream: Stream) -> Bool {
    if frozen.contains(stream.link) { return true }
    guard !cuts.isEmpty, case .ip(let from, port: _) = stream.local, case .ip(let to, port: _) = stream.peer else {
      return false
    }
    return cuts.contains { $0 == (from, to) }
  }

  private func release() {
    let waiting = held
    held = []
    for entry in waiting {
      if isHeld(entry.stream) { held.append(entry) } else { entry.action() }
    }
  }

  /// Connection attempts to `address` are never answered from now on.
  public func ignore(_ address: SocketAddress) { blackholes.append(address) }

  /// Lets `action` happen at the other end of a link, behind everything that was sent to it before.
  private func arrive(from stream: Stream, _ action: @escaping () -> Void) {
    let time = max(stream.latestArrival, now.advanced(byNanoseconds: draw(conditions.latency)))
    stream.latestArrival = time
    schedule(at: time) { [unowned self] in
      if isHeld(stream) { held.append((stream, action)) } else { action() }
    }
  }

  // MARK: Listening

  func listener(for address: SocketAddress) -> Listener? {
    let candidates = listeners.filter { listener in
      if listener.address == address { return true }
      guard case .ip(let wildcard, let port) = listener.address, case .ip(let ip, port) = address else { return false }
      return ip.isV4 ? wildcard == IPAddress(v4: 0) : wildcard == IPAddress(high: 0, low: 0)
    }
    return candidates.isEmpty ? nil : candidates[random.number(in: 0...(candidates.count - 1))]
  }

  func open(
    _ requested: SocketAddress, _ options: ListenOptions, changed: @escaping () -> Void
  ) throws(NetworkError) -> Listener {
    var address = requested
    if case .ip(let ip, port: 0) = requested { address = .ip(ip, port: takePort()) }
    for other in listeners where other.address == address {
      guard other.options.sharesPort, options.sharesPort else { throw .addressInUse }
    }
    let listener = Listener(address, options, changed: changed)
    listeners.append(listener)
    return listener
  }

  func close(_ listener: Listener) {
    listeners.removeAll { $0 === listener }
    // As with Linux: whoever waits in the queue of a closed listener is reset.
    for stream in listener.queue { close(stream, reset: true) }
    listener.queue = []
  }

  func takePort() -> UInt16 {
    nextPort = nextPort == .max ? 40_000 : nextPort + 1
    return nextPort
  }

  // MARK: Connecting

  /// Begins to connect; the stream is open or broken some time later, and its owner is told.
  func connect(from ip: IPAddress?, to address: SocketAddress) -> Stream {
    var local = address
    if case .ip(let target, port: _) = address { local = .ip(ip ?? target, port: takePort()) }
    let stream = makeStream(local: local, peer: address, link: address, .connecting)
    note("connect", stream.number)
    arrive(from: stream) { [unowned self] in attempt(stream, 0) }
    return stream
  }

  private func makeStream(
    local: SocketAddress, peer: SocketAddress, link: SocketAddress, _ phase: Stream.Phase
  ) -> Stream {
    defer { nextStream += 1 }
    return Stream(number: nextStream, local: local, peer: peer, link: link, phase: phase)
  }

  private func attempt(_ stream: Stream, _ count: Int) {
    guard !stream.isClosed else { return }
    let listener = listener(for: stream.link)
    guard let listener, !blackholes.contains(stream.link) else {
      let isIgnored = blackholes.contains(stream.link)
      let delay = isIgnored ? conditions.connectTimeout.wholeNanoseconds : draw(conditions.latency)
      schedule(at: now.advanced(byNanoseconds: delay), isTimer: isIgnored) { [unowned self] in
        sever(stream, isIgnored ? .timedOut : .refused)
      }
      return
    }
    guard listener.queue.count < Int(listener.options.backlog) else {
      // A full queue drops the attempt, and the kernel repeats it after a second.
      schedule(at: now + .seconds(1), isTimer: true) { [unowned self] in
        if count < 60 { attempt(stream, count + 1) } else { sever(stream, .timedOut) }
      }
      return
    }
    let far = makeStream(local: stream.peer, peer: stream.local, link: stream.link, .open)
    far.far = stream
    stream.far = far
    listener.queue.append(far)
    note("established", stream.number, far.number)
    arrive(from: far) { [unowned self] in
      guard !stream.isClosed, stream.phase == .connecting else { return }
      stream.phase = .open
      note("connected", stream.number)
      stream.owner?.changed(stream)
    }
    listener.changed()
  }

  /// Ends a stream with an error, as seen from its own end.
  private func sever(_ stream: Stream, _ error: NetworkError) {
    guard !stream.isClosed else { return }
    if case .broken = stream.phase { return }
    stream.phase = .broken(error, isReported: false)
    note("broken", stream.number)
    stream.owner?.changed(stream)
  }

  // MARK: Moving bytes

  private func room(_ stream: Stream) -> Int {
    conditions.capacityBytes - stream.inFlightCount - (stream.far?.inbox.count ?? 0)
  }

  /// Sends a part of `offered` bytes, of which `copy` returns so many first ones; returns how many. 0 where there is no
  /// room.
  func send(_ stream: Stream, _ offered: Int, _ copy: (Int) -> [UInt8]) -> Int {
    var count = min(offered, max(room(stream), 0))
    if count > 1, random.chance(conditions.shortWriteChance) { count = random.number(in: 1...(count - 1)) }
    if count < offered {
      stream.wantsRoom = true
      offerRoom(stream)
    }
    note("send", stream.number, count)
    stream.inFlightCount += count
    let bytes = copy(count)
    var offset = 0
    while offset < count {
      var size = random.number(in: conditions.segmentBytes)
      if random.chance(0.25) { size = max(min(size, random.number(in: 1...4)), conditions.segmentBytes.lowerBound) }
      let end = min(offset + size, count)
      deliver(Array(bytes[offset..<end]), from: stream)
      offset = end
    }
    return count
  }

  private func deliver(_ segment: [UInt8], from stream: Stream) {
    let epoch = stream.epoch
    arrive(from: stream) { [unowned self] in
      guard stream.epoch == epoch, let far = stream.far else { return }
      stream.inFlightCount -= segment.count
      if far.isClosed || random.chance(conditions.resetChance) {
        sever(far, .reset)
        arrive(from: far) { [unowned self] in sever(stream, .reset) }
        return
      }
      guard far.phase == .open else { return }
      far.inbox.append(segment)
      note("arrive", far.number, segment.reduce(segment.count) { ($0 &* 31) &+ Int($1) })
      far.owner?.changed(far)
    }
  }

  /// Tells a sender that was short of room when a third of it is free, as Linux does.
  private func offerRoom(_ stream: Stream) {
    schedule(at: now.advanced(byNanoseconds: draw(conditions.latency))) { [unowned self] in
      guard stream.wantsRoom, !stream.isClosed, room(stream) >= conditions.capacityBytes / 3 else { return }
      stream.wantsRoom = false
      stream.owner?.changed(stream)
    }
  }

  /// Takes up to `limit` arrived bytes; everything that has arrived where that is less.
  func receive(_ stream: Stream, into buffer: ByteBuffer, limit: Int) -> Int {
    let inbox = stream.inbox
    let count = min(limit, inbox.count)
    buffer.append(inbox.bytes.extracting(0..<count))
    inbox.consume(count)
    note("receive", stream.number, count)
    if let far = stream.far, far.wantsRoom { offerRoom(far) }
    return count
  }

  /// Sends the end of the stream, behind everything that was sent.
  func end(_ stream: Stream) {
    guard !stream.hasSentEnd, !stream.isClosed, stream.phase == .open else { return }
    stream.hasSentEnd = true
    note("end", stream.number)
    let epoch = stream.epoch
    arrive(from: stream) { [unowned self] in
      guard stream.epoch == epoch, let far = stream.far else { return }
      if far.isClosed { return }
      far.hasReceivedEnd = true
      far.owner?.changed(far)
      // With both directions ended the sender's own end hangs up.
      if far.hasSentEnd { arrive(from: far) { stream.owner?.changed(stream) } }
    }
  }

  /// Closes an end. Unread bytes make it a reset, as with Linux.
  func close(_ stream: Stream, reset: Bool) {
    guard !stream.isClosed else { return }
    let isReset = reset || !stream.inbox.isEmpty
    note("close", stream.number, isReset ? 1 : 0)
    if !isReset { end(stream) }
    // Its inbox no longer counts: what arrives now is answered with a reset.
    stream.inbox.removeAll()
    stream.isClosed = true
    stream.owner = nil
    guard let far = stream.far else { return }
    // Whoever gives a connection up before it stands resets it.
    guard stream.phase == .connecting || isReset && stream.phase == .open else { return }
    // A reset drops what has not arrived.
    if reset {
      stream.epoch += 1
      stream.inFlightCount = 0
    }
    arrive(from: stream) { [unowned self] in sever(far, .reset) }
  }
}
