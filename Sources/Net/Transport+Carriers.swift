// Connections to servers that speak HTTP/2: many exchanges share one, and another is opened only when none has room.

import Core
import Crypto
import HTTP

/// How a connection to a server is secured.
public struct StreamSecurity {
  let context: TLSClientContext
  let name: String
  let resumption: String?

  /// By this context; the certificate must be good for `name`, and sessions with the same `resumption` go on.
  public init(_ context: TLSClientContext, name: String, resumption: String?) {
    (self.context, self.name, self.resumption) = (context, name, resumption)
  }
}

/// Limits of connections that carry streams to a server; times in nanoseconds.
public struct StreamLimits: Sendable {
  let connect: Int64
  let idle: Int64
  let streams: Int

  /// For a connection to stand, for how long it is kept without a stream, and for how many it carries in all its life.
  public init(connect: Int64, idle: Int64, streams: Int = .max) {
    (self.connect, self.idle, self.streams) = (connect, idle, streams)
  }
}

/// Who has ended a stream to a server before its time.
public enum StreamCause: Sendable {
  /// The server, that stream alone (RST_STREAM).
  case server
  /// The server, with its connection (GOAWAY).
  case goAway
  /// The connection broke, or its server broke a rule.
  case connection
}

/// Where a connection that carries streams leads to, and how.
struct StreamTarget {
  let address: SocketAddress
  let endpoint: Int32
  let security: StreamSecurity?
  let limits: StreamLimits
}

extension Transport {
  /// Begins an exchange with a server over HTTP/2, on a connection to that endpoint that is there or a new one. Unless it
  /// ``isEstablished(_:)`` at once, the first `writable` event means that ``connectFailure(_:)`` can be asked how it went. The
  /// socket then speaks HTTP/1.1, once.
  public func connectStream(
    to address: SocketAddress, endpoint: Int32, token: UInt64, _ security: StreamSecurity?, _ limits: StreamLimits
  ) throws(NetworkError) -> Socket {
    http2.now = base.now
    let target = StreamTarget(address: address, endpoint: endpoint, security: security, limits: limits)
    let multiplex = try carrier(to: target)
    guard let stream = multiplex.connection.open() else { throw .exhausted }
    stream.token = token
    touch(multiplex)
    let socket = takeStreamSlot(stream, multiplex)
    if !multiplex.isConnected { multiplex.waiting.append(Int32(slot(ofStream: socket))) }
    return socket
  }

  /// Whether an exchange that was begun can go on at once.
  public func isEstablished(_ socket: Socket) -> Bool {
    isStream(socket) && streams[slot(ofStream: socket)].multiplex?.isConnected == true
  }

  /// Whether the server has certainly done nothing with what was sent on a stream, so that it may be sent again.
  public func isUnprocessed(_ socket: Socket) -> Bool {
    isStream(socket) && streams[slot(ofStream: socket)].stream?.isUnprocessed == true
  }

  /// Whether the server cannot be asked what was to be sent on a stream, so that it has not failed.
  public func isInexpressible(_ socket: Socket) -> Bool {
    isStream(socket) && streams[slot(ofStream: socket)].stream?.isInexpressible == true
  }

  /// How many streams the server of a stream allows on its connection at a time, as far as it has said.
  public func streamLimit(of socket: Socket) -> Int {
    guard isStream(socket), let multiplex = streams[slot(ofStream: socket)].multiplex else { return 0 }
    return multiplex.connection.streamLimit
  }

  /// Who has ended a stream before its time.
  public func cause(of socket: Socket) -> StreamCause {
    guard isStream(socket) else { return .connection }
    let slot = streams[slot(ofStream: socket)]
    if slot.stream?.isResetByPeer == true { return .server }
    return slot.multiplex?.connection.isPeerLeaving == true ? .goAway : .connection
  }

  /// Lets go of all connections that carry streams to servers; streams that are left on them break.
  public func closeCarriers() {
    for multiplex in carriers.values.flatMap({ $0 }) { retire(multiplex) }
  }

  /// Why a stream has come to nothing before it began.
  func connectFailure(stream index: Int) -> NetworkError? {
    guard let multiplex = streams[index].multiplex else { return .reset }
    return multiplex.isGone || multiplex.connection.closure != nil ? multiplex.fault : nil
  }

  /// A connection to the endpoint with room for a stream.
  private func carrier(to target: StreamTarget) throws(NetworkError) -> Multiplex {
    for multiplex in carriers[target.endpoint] ?? []
    where multiplex.target?.address == target.address && !multiplex.isGone
      && multiplex.target?.security?.context === target.security?.context
      && multiplex.connection.availableStreams > 0
    {
      return multiplex
    }
    let index = takeSlot(for: .none)
    if let security = target.security {
      do throws(TLSFault) {
        slots[index].session = try TLSSession(
          security.context, name: security.name, resumption: security.resumption, wire: wire)
      } catch {
        freeSlot(index)
        throw .unreachable
      }
    }
    do throws(NetworkError) {
      slots[index].socket = try base.connect(to: target.address, token: ownToken(index))
    } catch {
      freeSlot(index)
      throw error
    }
    slots[index].state = .connecting
    slots[index].isServed = true
    slots[index].beganAt = moment
    var options = http2Options
    options.concurrentStreams = Self.streamsPerCarrier
    options.totalStreams = target.limits.streams
    options.isSecure = target.security != nil
    let multiplex = Multiplex(HTTP2Connection(.client, options: options, workspace: http2), index: index)
    multiplex.endpoint = target.endpoint
    multiplex.target = target
    multiplex.isUp = false
    multiplex.isConnected = false
    slots[index].multiplex = multiplex
    carriers[target.endpoint, default: []].append(multiplex)
    setDeadline(index, after: target.limits.connect)
    onCarrier(true)
    return multiplex
  }

  /// Streams on one connection to a server, where that allows as many.
  private static var streamsPerCarrier: Int { 256 }

  /// A connection to a server stands: both sides say what they allow.
  func stand(_ multiplex: Multiplex) {
    multiplex.isUp = true
    receiveFrames(multiplex)
  }

  /// Lets exchanges begin that wait for the server's settings, once those are there.
  func settle(_ multiplex: Multiplex) {
    guard !multiplex.isConnected, multiplex.connection.isSettled else { return }
    multiplex.isConnected = true
    slots[multiplex.index].deadline = .never
    var room = multiplex.connection.streamLimit
    for index in multiplex.waiting {
      let slot = streams[Int(index)]
      guard slot.multiplex === multiplex, let stream = slot.stream else { continue }
      if room > 0 {
        room -= 1
        events.append(TransportEvent(token: stream.token, readiness: .writable))
      } else {
        move(index, stream, from: multiplex)
      }
    }
    multiplex.waiting = []
  }

  /// Lets an exchange for which there is no room, as it turns out, wait for another connection.
  private func move(_ index: Int32, _ stream: HTTP2Stream, from multiplex: Multiplex) {
    let token = stream.token
    multiplex.connection.close(stream, reset: true)
    streams[Int(index)] = StreamSlot()
    var readiness: Readiness = [.writable, .broken]
    if let target = multiplex.target, let other = try? carrier(to: target), let stream = other.connection.open() {
      stream.token = token
      streams[Int(index)] = StreamSlot(stream: stream, multiplex: other)
      touch(other)
      if !other.isConnected { return other.waiting.append(index) }
      readiness = .writable
    }
    events.append(TransportEvent(token: token, readiness: readiness))
  }

  /// Lets a connection to a server go once it is of no use any more.
  func retireIfUseless(_ multiplex: Multiplex) {
    guard multiplex.endpoint >= 0 else { return }
    let connection = multiplex.connection
    let isUseless = connection.openStreams == 0 && connection.availableStreams == 0
    if multiplex.isGone || connection.closure != nil || isUseless {
      retire(multiplex)
    }
  }

  /// The same once it has been without a stream for long enough.
  func retireIfIdle(_ multiplex: Multiplex) {
    guard multiplex.connection.openStreams == 0 else {
      multiplex.idleSince = .never
      return
    }
    if multiplex.idleSince == .never { multiplex.idleSince = base.now }
    if base.now.nanoseconds(since: multiplex.idleSince) >= multiplex.target?.limits.idle ?? 0 { retire(multiplex) }
  }

  private func retire(_ multiplex: Multiplex) {
    carriers[multiplex.endpoint]?.removeAll { $0 === multiplex }
    if carriers[multiplex.endpoint]?.isEmpty == true { carriers[multiplex.endpoint] = nil }
    if multiplex.connection.closure == nil {
      // So that the server knows that this was meant.
      multiplex.connection.finishDrain()
      flushFrames(multiplex)
    }
    multiplex.endpoint = -1
    multiplex.isGone = true
    multiplex.connection.transportEnded()
    slots[multiplex.index].multiplex = nil
    closeSecured(multiplex.index, reset: false)
    onCarrier(false)
  }
}
