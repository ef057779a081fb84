/// What a request must be like for a route to take it. Everything that is given must hold; what is left out takes all.
public struct RouteMatch: Hashable, Sendable {
  /// `api.example.com`, `*.example.com` (one or more labels in place of the star), either with `:port` to ask for that
  /// port in the request's authority; nil for every host. Case does not matter.
  public var host: String?
  /// `/a` exactly, `/a/*` for that path and everything below it, `/a/{id}` with a segment captured; nil for every path.
  public var path: String?
  /// Method names as they stand on the wire; empty for every method. `GET` takes `HEAD` along unless another route of
  /// the same host and path names `HEAD` itself.
  public var methods: [String]
  /// Header fields of which one line must have exactly this value.
  public var headers: [NamedValue]
  /// Query parameters of which one must have exactly this value, both decoded.
  public var query: [NamedValue]
  /// The version of the API that the route serves, and where a request names it; nil for any and none.
  public var version: RouteVersion?

  /// A match; the default takes every request.
  public init(
    host: String? = nil, path: String? = nil, methods: [String] = [], headers: [NamedValue] = [],
    query: [NamedValue] = [], version: RouteVersion? = nil
  ) {
    self.host = host
    self.path = path
    self.methods = methods
    self.headers = headers
    self.query = query
    self.version = version
  }
}

/// A name and the value that it must have.
public struct NamedValue: Hashable, Sendable {
  /// The name; for header fields case does not matter.
  public var name: String
  /// The value, compared byte by byte.
  public var value: String

  /// A pair.
  public init(name: String, value: String) {
    self.name = name
    self.value = value
  }
}

/// The version that a route serves, by the place where a request names it.
public enum RouteVersion: Hashable, Sendable {
  /// The first segment of the path, before the pattern of the route: version `v2` and path `/orders` is `/v2/orders`.
  case path(String)
  /// A header field, as a rule `Accept-Version`.
  case header(name: String, value: String)
  /// A parameter of a media type in `Accept`, as a rule `version`: `application/json; version=2`.
  case mediaType(parameter: String, value: String)
}

/// The methods of a set of routes, as bits that only the ``RouteTable`` they came from can name.
public struct MethodSet: OptionSet, Hashable, Sendable, BitwiseCopyable {
  /// One bit a method.
  public let rawValue: UInt64
  /// The set with these bits.
  public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// What the table says of a request.
public enum RouteDecision: Equatable, Sendable, BitwiseCopyable {
  /// The route with that index takes it.
  case route(Int32)
  /// Nothing is there (404).
  case notFound
  /// Something is there for other methods (405, with `Allow`).
  case methodNotAllowed(MethodSet)
}

/// What a match has cut out of the path: offsets into it, plain data.
public struct RouteCaptures: Sendable, BitwiseCopyable {
  /// Captured segments that one pattern may have.
  public static let limit = 8

  @usableFromInline var starts: InlineArray<8, UInt32>
  @usableFromInline var counts: InlineArray<8, UInt32>
  /// Where the part that `*` stands for begins, without its first slash; the length of the path where there is none.
  public var restStart: Int32 { rest }
  @usableFromInline var rest: Int32
  /// How many segments were captured.
  public var count: Int32 { captured }
  @usableFromInline var captured: Int32

  /// No captures.
  @inlinable
  @inline(__always)
  public init() {
    starts = InlineArray(repeating: 0)
    counts = InlineArray(repeating: 0)
    rest = 0
    captured = 0
  }

  /// Where the captured segment begins in the path.
  @inline(__always)
  public func start(_ index: Int) -> Int { Int(starts[index]) }

  /// How many bytes the captured segment has, as they stand in the path: not decoded.
  @inline(__always)
  public func byteCount(_ index: Int) -> Int { Int(counts[index]) }

  @inline(__always)
  mutating func set(_ index: Int, start: Int, end: Int) {
    starts[index] = UInt32(truncatingIfNeeded: start)
    counts[index] = UInt32(truncatingIfNeeded: end &- start)
  }
}

/// What the table reads of a request. The HTTP room's request head is one; tests bring a smaller one.
public protocol RoutableRequest: AnyObject {
  /// The place of the method in ``RouteTable/knownMethods``, −1 for other methods.
  var knownMethod: Int { get }
  /// The method as it stands on the wire.
  var methodBytes: RawSpan { @_lifetime(borrow self) get }
  /// The host without its port.
  var hostBytes: RawSpan { @_lifetime(borrow self) get }
  /// The port that stands behind the host, 0 if there is none.
  var port: UInt16 { get }
  /// The path, raw.
  var pathBytes: RawSpan { @_lifetime(borrow self) get }
  /// The query without its question mark, raw; empty where there is none.
  var queryBytes: RawSpan { @_lifetime(borrow self) get }
  /// The index of the next field line after `index` (−1 for the first) with this lower-case name, −1 if there is none.
  func fieldIndex(named name: RawSpan, after index: Int) -> Int
  /// The value of a field line.
  @_lifetime(borrow self)
  func fieldBytes(_ index: Int) -> RawSpan
}
