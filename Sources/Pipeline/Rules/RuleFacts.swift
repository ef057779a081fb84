import Core
import HTTP

/// What a rule is evaluated on: who calls, and what for. Borrowed from the request; made anew for each one.
public struct RuleFacts: ~Escapable {
  /// Who calls as an issuer says; nil where none does. Whoever evaluates keeps it.
  public var identity: Borrowed<Identity>?
  /// The configured consumers, of which ``consumer`` is one. Whoever evaluates keeps them.
  var ring: Borrowed<KeyRing>?
  var consumer: Int = -1
  /// A consumer that the configuration does not know.
  var ownConsumer: Consumer?
  let method: Method
  /// Empty where there is no request.
  let methodText: RawSpan
  let path: RawSpan
  let host: RawSpan
  let route: RawSpan
  let address: IPAddress?
  let time: WallTime

  /// The facts of a request by nobody. What is empty or nil is not known, and nothing holds of it.
  @_lifetime(copy methodText, copy path, copy host, copy route)
  public init(
    method: Method, methodText: RawSpan, path: RawSpan, host: RawSpan, route: RawSpan, address: IPAddress?,
    time: WallTime
  ) {
    self.method = method
    self.methodText = methodText
    self.path = path
    self.host = host
    self.route = route
    self.address = address
    self.time = time
  }

  /// The facts of an identity for which there is no request yet; `nothing` is empty, and it and the identity must outlive them.
  @_lifetime(copy nothing)
  public init(_ identity: Identity, _ nothing: RawSpan, time: WallTime) {
    self.init(
      method: .get, methodText: nothing, path: nothing, host: nothing, route: nothing, address: nil, time: time)
    self.identity = Borrowed(identity)
  }

  /// The facts of a request that is under way, and of who has sent it; `route` is the name of its route. The exchange and the
  /// services must outlive them.
  @_lifetime(borrow request, copy route)
  @inline(__always)
  public init(_ exchange: borrowing Exchange, _ request: borrowing RequestHead, route: RawSpan, _ services: Services) {
    self.init(
      method: request.method, methodText: request.bytes(request.methodText), path: request.bytes(request.path),
      host: request.bytes(request.host), route: route, address: exchange.client, time: services.world.wallTime)
    setCaller(exchange, services)
  }

  /// The caller is whoever sent the request of `exchange`, which must outlive the facts, as must the services.
  @inline(__always)
  public mutating func setCaller(_ exchange: borrowing Exchange, _ services: Services) {
    if let identity = exchange.identity { self.identity = Borrowed(identity) }
    setConsumer(exchange.consumer, services)
  }

  /// The caller is the consumer of this number, nobody for −1; the services must outlive the facts.
  @inline(__always)
  public mutating func setConsumer(_ number: Int32, _ services: Services) {
    if services.isConfigured(number) {
      setConsumer(number, of: services.keyRing)
    } else if number >= 0 {
      setConsumer(services.consumer(number))
    }
  }

  /// The caller is a consumer of the configuration, by its index in `ring`, which must outlive the facts.
  @inline(__always)
  public mutating func setConsumer(_ index: Int32, of ring: KeyRing) {
    self.ring = Borrowed(ring)
    consumer = Int(index)
  }

  /// The caller is a consumer that the configuration does not know.
  public mutating func setConsumer(_ consumer: Consumer) { ownConsumer = consumer }

  /// Whether anybody is known to call.
  public var isAuthenticated: Bool { identity != nil || consumer >= 0 || ownConsumer != nil }
}
