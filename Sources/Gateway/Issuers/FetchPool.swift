// What the node fetches by itself: OCSP responses, keys of issuers, and whatever policies ask of other services. All
// of it happens on the control loop, so many at a time, each on a connection of its own; whoever wanted it finds the
// outcome in a list.

import Core
import Crypto
import HTTP
import Pipeline

/// Whom an outcome is for.
enum FetchOwner: Equatable {
  /// An order of a loop, by its number there.
  case loop(Int, order: UInt64)
  /// The authority of a certificate, by its question's number.
  case staple(UInt32)
  /// An issuer, by its question's number.
  case issuer(UInt32)
}

/// Fetches under way, and those that wait.
struct FetchPool {
  /// Fetches at the same time.
  static let runningLimit = 64
  /// Those that wait for their turn.
  static let queueLimit = 1_024
  /// How many of both are with one server at most: there is room for others, whatever becomes of it.
  static let (runningPerServer, queuePerServer) = (48, 768)
  /// Addresses of a name that are tried.
  static let addressLimit = 8
  /// How long an address is given to take a connection where there is another one to try, in nanoseconds.
  static let connectTime: Int64 = 1_000_000_000
  /// Contexts of TLS that are kept, one for each text of authorities.
  private static let contextLimit = 64

  private struct Entry {
    let owner: FetchOwner
    let request: FetchRequest
    let message: [UInt8]
    let server: String
    let deadline: Instant
    /// Tells the present attempt from all others.
    var generation: UInt32 = 0
    /// Those that have not been tried.
    var addresses: ArraySlice<IPAddress> = []
    var fetch: HTTPFetch?
    /// When another address is tried; never once one has been reached.
    var attemptEndsAt = Instant.never
  }

  private let world: any World
  private let head = ResponseHead()
  private var running: [Entry] = []
  private var queue: [Entry] = []
  /// How many are under way and wait with each server that there is any for.
  private var servers: [String: (running: Int, waiting: Int)] = [:]
  private var generation: UInt32 = 0
  private var contexts: [String?: TLSClientContext] = [:]
  private var outcomes: [(owner: FetchOwner, outcome: FetchOutcome)] = []

  init(world: any World) { self.world = world }

  /// Fetches under way, and those that wait.
  var count: Int { running.count + queue.count }

  /// Whether something has ended since ``takeOutcomes()`` was last called.
  var hasOutcomes: Bool { !outcomes.isEmpty }

  /// What has ended since the last call.
  mutating func takeOutcomes() -> [(owner: FetchOwner, outcome: FetchOutcome)] {
    defer { outcomes = [] }
    return outcomes
  }

  /// Begins a fetch, or has it wait for its turn; there will be one outcome. False where too many wait.
  mutating func begin(_ request: FetchRequest, for owner: FetchOwner) -> Bool {
    guard count < Self.runningLimit + Self.queueLimit else { return false }
    guard let message = request.message else {
      outcomes.append((owner, .failed("the request cannot be sent: a field is not one, or it is too long")))
      return true
    }
    let server = "\(request.url.host):\(request.url.port)"
    guard servers[server, default: (0, 0)].waiting < Self.queuePerServer else { return false }
    let deadline = world.now.advanced(byNanoseconds: request.timeoutNanoseconds)
    queue.append(Entry(owner: owner, request: request, message: message, server: server, deadline: deadline))
    servers[server, default: (0, 0)].waiting += 1
    return true
  }

  /// The same, except that the outcome says so where too many wait.
  mutating func beginOrRefuse(_ request: FetchRequest, for owner: FetchOwner) {
    if !begin(request, for: owner) { outcomes.append((owner, .crowded)) }
  }

  /// Does what is due; returns when there is more. `look` is to have a name looked up: the answer goes to
  /// ``resolved(_:_:)``.
  mutating func advance(look: (_ host: String, _ attempt: UInt32) -> Void) -> Instant {
    let now = world.now
    for entry in queue where entry.deadline <= now {
      outcomes.append((entry.owner, .overdue))
      leave(entry.server, running: 0, waiting: 1)
    }
    queue.removeAll { $0.deadline <= now }
    for index in running.indices.reversed() {
      if running[index].deadline <= now {
        finish(index, .failed(Self.tookTooLong))
      } else if running[index].attemptEndsAt <= now {
        connect(index, after: "no connection: \(NetworkError.timedOut)")
      }
    }
    beginWaiting(look)
    return (running + queue).reduce(.never) { min($0, min($1.deadline, $1.attemptEndsAt)) }
  }

  /// Begins what there is room for, in turn.
  private mutating func beginWaiting(_ look: (_ host: String, _ attempt: UInt32) -> Void) {
    var index = 0
    while index < queue.count, running.count < Self.runningLimit {
      let server = queue[index].server
      guard servers[server, default: (0, 0)].running < Self.runningPerServer else {
        index += 1
        continue
      }
      var entry = queue.remove(at: index)
      entry.generation = nextGeneration()
      running.append(entry)
      servers[server, default: (0, 0)].running += 1
      leave(server, running: 0, waiting: 1)
      look(entry.request.url.host, entry.generation)
    }
  }

  /// So many fewer are with a server.
  private mutating func leave(_ server: String, running: Int, waiting: Int) {
    guard var counts = servers[server] else { return }
    counts.running -= running
    counts.waiting -= waiting
    servers[server] = counts == (0, 0) ? nil : counts
  }

  private static let tookTooLong = "it took too long"

  private mutating func nextGeneration() -> UInt32 {
    generation &+= 1
    return generation
  }

  /// What a name stands for; nil where that could not be found out.
  mutating func resolved(_ attempt: UInt32, _ addresses: [IPAddress]?) {
    let found = running.firstIndex { $0.generation == attempt && $0.fetch == nil }
    guard let index = found else { return }
    let isBound = running[index].request.url.isBoundToLoopback
    running[index].addresses = (addresses ?? []).filter { !isBound || $0.isLoopback }.prefix(Self.addressLimit)
    connect(index, after: "\(running[index].request.url.host) has no address")
  }

  /// Goes on with the next address; without one that is the end, for this reason.
  private mutating func connect(_ index: Int, after reason: String) {
    running[index].fetch?.close()
    running[index].fetch = nil
    var reason = reason
    while let address = running[index].addresses.popFirst() {
      running[index].generation = nextGeneration()
      let (request, message) = (running[index].request, running[index].message)
      let token = Token(.client, 0, generation: running[index].generation)
      do throws(TLSFault) {
        let security = try security(request)
        do throws(NetworkError) {
          running[index].fetch = try HTTPFetch(
            world, to: .ip(address, port: request.url.port), token: token.rawValue, message, method: request.method,
            security)
          let isLast = running[index].addresses.isEmpty
          running[index].attemptEndsAt = isLast ? .never : world.now.advanced(byNanoseconds: Self.connectTime)
          return
        } catch { reason = "no connection: \(error)" }
      } catch {
        reason = error.message
        break
      }
    }
    finish(index, .failed(reason))
  }

  /// How the server is spoken TLS to; nil for not at all.
  private mutating func security(_ request: FetchRequest) throws(TLSFault) -> HTTPFetch.Security? {
    guard request.url.isSecure else { return nil }
    let key = request.authorities
    if let known = contexts[key] { return HTTPFetch.Security(context: known, name: request.url.host) }
    var settings = TLSClientSettings()
    settings.protocols = ["http/1.1"]
    if let text = key { settings.authorities = try TLSAuthorities(certificates: Array(text.utf8)) }
    let context = try TLSClientContext(settings)
    if contexts.count >= Self.contextLimit { contexts = [:] }
    contexts[key] = context
    return HTTPFetch.Security(context: context, name: request.url.host)
  }

  /// An event of a fetch's connection.
  mutating func ready(_ token: Token) {
    let found = running.firstIndex { $0.fetch != nil && token.matches(generation: $0.generation) }
    guard let index = found, let progress = running[index].fetch?.ready(head) else { return }
    switch progress {
    case .running: if running[index].fetch?.isConnected == true { running[index].attemptEndsAt = .never }
    case .unreachable(let reason): connect(index, after: reason)
    case .ended(let outcome): finish(index, outcome)
    }
  }

  private mutating func finish(_ index: Int, _ outcome: FetchOutcome) {
    running[index].fetch?.close()
    outcomes.append((running[index].owner, outcome))
    leave(running.remove(at: index).server, running: 1, waiting: 0)
  }
}
