import Core

extension ByteBuffer {
  /// A copy of the first bytes.
  fileprivate func prefix(_ count: Int) -> [UInt8] { bytes.extracting(first: count).array }
}

/// The far end of a connection in the hands of a test: a client that connects to a node, or a server that a node
/// connects to. It receives by itself unless told otherwise, and sends what it was given as fast as the network takes it.
public final class Peer: StreamOwner {
  /// Everything received and not taken.
  public private(set) var received: [UInt8] = []
  /// How many bytes were received in all.
  public private(set) var receivedCount = 0
  /// Why the connection could not be made.
  public private(set) var failure: NetworkError?
  /// Whether the connection stands or stood.
  public private(set) var isConnected = false
  /// Whether the node has ended its stream; everything it sent has been received then.
  public private(set) var hasEnded = false
  /// Whether the node has reset the connection.
  public private(set) var wasReset = false
  /// Whether it receives. A peer that does not makes the node's sends come to a halt.
  public var isReading = true {
    didSet { if isReading, !oldValue { changed(stream) } }
  }
  /// Called after anything has happened to the peer: connected, received, ended, reset.
  public var onChange: ((Peer) -> Void)?

  private unowned let world: SimulatedWorld
  private let stream: Stream
  private let outgoing = ByteBuffer()
  private var mustEnd = false
  private var mustClose = false

  init(_ world: SimulatedWorld, _ stream: Stream) {
    self.world = world
    self.stream = stream
    stream.owner = self
    isConnected = stream.phase == .open
  }

  /// The peer's own address.
  public var address: SocketAddress { stream.local }

  /// The address of the other end.
  public var remote: SocketAddress { stream.peer }

  /// What was received and not taken, as text.
  public var text: String { String(decoding: received, as: UTF8.self) }

  /// What was sent by the test and has not left the peer yet.
  public var unsentCount: Int { outgoing.count }

  /// Whether nothing more can arrive: ended, reset or never connected.
  public var isOver: Bool { hasEnded || wasReset || failure != nil }

  /// Takes what was received.
  public func take() -> [UInt8] {
    let taken = received
    received = []
    return taken
  }

  /// Takes the first `count` bytes of what was received.
  @discardableResult
  public func take(first count: Int) -> [UInt8] {
    let taken = Array(received[..<count])
    received.removeFirst(count)
    return taken
  }

  /// Takes what was received, as text.
  public func takeText() -> String { String(decoding: take(), as: UTF8.self) }

  /// Takes what was received up to the end of the first `mark`; nil where there is none yet.
  public func take(through mark: String) -> String? {
    let mark = Array(mark.utf8)
    guard received.count >= mark.count else { return nil }
    for start in 0...(received.count - mark.count) where received[start..<(start + mark.count)].elementsEqual(mark) {
      let taken = received[..<(start + mark.count)]
      received.removeFirst(start + mark.count)
      return String(decoding: taken, as: UTF8.self)
    }
    return nil
  }

  /// Sends `bytes`, after a connection under way stands.
  public func send(_ bytes: [UInt8]) {
    precondition(!mustEnd, "the peer has ended its stream")
    outgoing.append(bytes)
    pump()
  }

  /// Sends `text`.
  public func send(_ text: String) { send(Array(text.utf8)) }

  /// Ends the peer's stream behind what it sends, and keeps receiving.
  public func endSending() {
    mustEnd = true
    pump()
  }

  /// Closes both directions behind what it sends.
  public func close() {
    mustEnd = true
    mustClose = true
    pump()
  }

  /// Tears the connection down at once.
  public func reset() {
    outgoing.removeAll()
    mustEnd = true
    world.close(stream, reset: true)
  }

  /// Does `action` after `delay`, if the connection still stands.
  public func after(_ delay: Duration, _ action: @escaping (Peer) -> Void) {
    world.schedule(at: world.now + delay) { [self] in
      if !isOver { action(self) }
    }
  }

  func changed(_ stream: Stream) {
    if case .broken(let error, _) = stream.phase {
      takeArrived()
      if isConnected { wasReset = true } else { failure = error }
    } else if stream.phase == .open {
      isConnected = true
      takeArrived()
      if stream.hasReceivedEnd, stream.inbox.isEmpty { hasEnded = true }
      pump()
    }
    onChange?(self)
  }

  private func takeArrived() {
    guard isReading, !stream.inbox.isEmpty else { return }
    let buffer = ByteBuffer()
    receivedCount += world.receive(stream, into: buffer, limit: stream.inbox.count)
    received += buffer.array
  }

  private func pump() {
    guard stream.phase == .open, !stream.isClosed else { return }
    while !outgoing.isEmpty, !stream.wantsRoom {
      let count = world.send(stream, outgoing.count) { outgoing.prefix($0) }
      if count == 0 { return }
      outgoing.consume(count)
    }
    guard outgoing.isEmpty else { return }
    if mustClose {
      world.close(stream, reset: false)
    } else if mustEnd {
      world.end(stream)
    }
  }
}

extension SimulatedWorld {
  /// Connects to a listener, from `source` (by default a documentation address) and a port of its own.
  public func connect(to address: SocketAddress, from source: IPAddress = IPAddress(v4: 0xcb00_7101)) -> Peer {
    let peer = Peer(self, connect(from: source, to: address))
    peers.append(peer)
    return peer
  }

  /// Connects, sends `text` and hands the peer back.
  public func connect(to address: SocketAddress, sending text: String) -> Peer {
    let peer = connect(to: address)
    peer.send(text)
    return peer
  }

  /// Acts as a server at `address`: `script` is called with the peer whenever a connection was accepted, bytes were
  /// received, or the node has ended or reset its stream. Returns the server, to be looked at and closed.
  @discardableResult
  public func serve(_ address: SocketAddress, _ script: @escaping (Peer) -> Void) -> ScriptedServer {
    let server = ScriptedServer(self, address, script)
    return server
  }

  /// Acts as a server at `address` that answers every header section (up to an empty line) with `answer`.
  @discardableResult
  public func serve(_ address: SocketAddress, answer: String) -> ScriptedServer {
    serve(address) { peer in
      while peer.take(through: "\r\n\r\n") != nil { peer.send(answer) }
      if peer.hasEnded { peer.close() }
    }
  }
}

/// A listener of the test.
public final class ScriptedServer {
  /// The connections that nodes made to it, in their order.
  public private(set) var peers: [Peer] = []
  /// Whether it takes connections from the queue.
  public var isAccepting = true {
    didSet { acceptAll() }
  }
  private unowned let world: SimulatedWorld
  private var listener: Listener?
  private let script: (Peer) -> Void

  init(_ world: SimulatedWorld, _ address: SocketAddress, _ script: @escaping (Peer) -> Void) {
    self.world = world
    self.script = script
    do throws(NetworkError) {
      listener = try world.open(address, ListenOptions(sharesPort: false)) { [weak self] in self?.acceptAll() }
    } catch {
      preconditionFailure("\(address) cannot be served: \(error)")
    }
    world.servers.append(self)
  }

  /// The peers whose connection has not ended.
  public var openPeers: [Peer] { peers.filter { !$0.isOver } }

  /// Stops listening; connections go on.
  public func close() {
    if let listener { world.close(listener) }
    listener = nil
  }

  private func acceptAll() {
    guard isAccepting, let listener else { return }
    while !listener.queue.isEmpty {
      let peer = Peer(world, listener.queue.removeFirst())
      peers.append(peer)
      peer.onChange = script
      script(peer)
    }
  }
}
