import Core

// Which route takes a request, among ten thousand, in a fifth of a microsecond.
//
// All routes of a host pattern share a tree of path segments; every tree lives in one flat array of nodes, and the
// literal children of all nodes in one hash table keyed by parent and segment. A walk therefore costs one look-up a
// segment however many routes there are. At a node hang the routes that end there, most specific first, with their
// conditions on method, fields and query.
//
// The most specific route wins, and that is decided in this order: the host (exact with port, exact, then wildcards from
// the longest, then any); the path, by the first segment in which two patterns differ (literal before capture before
// `*`); then fewer methods (none named counts as all), more conditions on fields and version, more on the query. A route
// whose conditions fail gives way to the next. Two routes that could take the same request and are alike in all of this
// are an error of the file.
//
// Rejected: one regular expression for all (no order of specificity, no errors by name), a radix tree over bytes (more
// nodes and more misses for the same paths), and choosing the host first without ever falling back (a route for any
// host would vanish for each host that has a route of its own).

/// All routes of a configuration, compiled. Immutable; shared by all loops.
public final class RouteTable: Sendable {
  struct Node: BitwiseCopyable, Sendable {
    var parent: Int32
    var textStart: Int32
    var textCount: Int32
    var captureChild: Int32 = -1
    var literalChildren: Int32 = 0
    /// The entries for requests that end here; those for everything below follow them.
    var entryStart: Int32 = 0
    var exactCount: Int32 = 0
    var prefixCount: Int32 = 0

    /// Whether no path leads further down.
    var isLeaf: Bool { literalChildren == 0 && captureChild < 0 }
  }

  struct Entry: BitwiseCopyable, Sendable {
    var methods: UInt64
    var route: Int32
    var conditionStart: Int32
    var conditionCount: Int32
  }

  struct Condition: BitwiseCopyable, Sendable {
    enum Kind: UInt8, Sendable { case header, mediaType, query }
    var kind: Kind
    var nameStart: Int32
    var nameCount: Int32
    var valueStart: Int32
    var valueCount: Int32
  }

  struct Host: BitwiseCopyable, Sendable {
    var root: Int32
    var textStart: Int32
    var textCount: Int32
    /// 0 where any port will do.
    var port: UInt16
    var isWildcard: Bool
  }

  struct Storage: Sendable {
    var arena: [UInt8] = []
    var nodes: ContiguousArray<Node> = []
    var entries: ContiguousArray<Entry> = []
    var conditions: ContiguousArray<Condition> = []
    var hosts: ContiguousArray<Host> = []
    /// Open addressing, a power of two: the upper half of the hash, and the node or host index plus one; 0 is free.
    var edgeSlots: ContiguousArray<UInt64> = [0]
    var hostSlots: ContiguousArray<UInt64> = [0]
    var anyHostRoot: Int32 = -1
    /// The most labels behind the star of a wildcard; 0 where there are no wildcards.
    var wildcardLabels = 0
    var hasPorts = false
    /// The names of the method bits, as words of sixteen bytes.
    var methods: ContiguousArray<UInt128> = []
    var methodNames: [String] = []
  }

  /// The methods that every table knows, in the order of their bits and of ``RoutableRequest/knownMethod``.
  public static let knownMethods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]

  let storage: Storage
  private let arena: ContiguousArray<UInt8>
  /// How many routes the table was built from.
  public let routeCount: Int
  /// The names that each route captures, in the order of ``RouteCaptures``.
  public let captureNames: [[String]]

  init(storage: Storage, captureNames: [[String]]) {
    // Eight bytes behind the last text, so that words are loaded from it without a special end.
    arena = ContiguousArray(storage.arena + Array(repeating: 0, count: 8))
    var rest = storage
    rest.arena = []
    self.storage = rest
    self.captureNames = captureNames
    routeCount = captureNames.count
  }

  /// The texts of all patterns.
  var texts: RawSpan {
    @_lifetime(borrow self)
    get {
      // The array never changes and lives as long as `self`, so its address outlives the closure; the compiler would
      // allow a borrow of a class's property only for the length of one call.
      let bytes = unsafe arena.withUnsafeBytes { unsafe $0 }
      return unsafe _overrideLifetime(RawSpan(_unsafeBytes: bytes), borrowing: self)
    }
  }

  /// A table without routes: everything is not found.
  public convenience init() { self.init(storage: Storage(), captureNames: []) }

  /// Bytes of memory that the table holds, for reports.
  public var byteCount: Int {
    arena.count + storage.nodes.count * MemoryLayout<Node>.stride
      + storage.entries.count * MemoryLayout<Entry>.stride
      + storage.conditions.count * MemoryLayout<Condition>.stride
      + storage.hosts.count * MemoryLayout<Host>.stride + (storage.edgeSlots.count + storage.hostSlots.count) * 8
  }

  /// The route that takes `request`. Allocates nothing; the cost grows with the segments of the path and not with the
  /// number of routes, except for routes that share host and path and differ only in fields or query.
  ///
  /// `captures` is meaningful only where a route was found. Paths are compared segment by segment by the octets that
  /// they stand for: `/%61` is `/a`, and `%2F` never separates segments. Nothing else is normalised: `//` has an empty
  /// segment in it, which no capture takes, and `/a/` is not `/a`.
  public func match<Request: RoutableRequest>(request: Request, captures: inout RouteCaptures) -> RouteDecision {
    let known = request.knownMethod
    let bit = known >= 0 ? 1 &<< UInt64(known) : methodBit(request.methodBytes)
    return match(request, method: bit, captures: &captures)
  }

  /// The same as if the request had the method with this name: for what a CORS preflight asks about.
  public func match<Request: RoutableRequest>(
    request: Request, asMethod name: RawSpan, captures: inout RouteCaptures
  ) -> RouteDecision {
    match(request, method: methodBit(name), captures: &captures)
  }

  /// Appends the names of a set for `Allow`: `GET, HEAD, POST`.
  public func appendMethods(_ set: MethodSet, to buffer: ByteBuffer) {
    var isFirst = true
    for (bit, name) in storage.methodNames.enumerated() where set.rawValue >> UInt64(bit) & 1 == 1 {
      if !isFirst { buffer.append(", ") }
      isFirst = false
      buffer.append(utf8: name)
    }
  }

  @inline(__always)
  private func match<Request: RoutableRequest>(
    _ request: Request, method: UInt64, captures: inout RouteCaptures
  ) -> RouteDecision {
    let arena = texts
    let path = request.pathBytes
    var allowed: UInt64 = 0
    var search = HostSearch()
    while true {
      let root = storage.hosts.isEmpty ? storage.anyHostRoot : search.next(self, request, arena)
      if root < 0 { break }
      let walk = Walk(method: method, root: root)
      let route =
        storage.nodes[Int(root)].isLeaf
        ? settle(request, path, arena, walk, captures: &captures, allowed: &allowed)
        : visit(request, path, arena, walk, captures: &captures, allowed: &allowed)
      if route >= 0 { return .route(route) }
      if storage.hosts.isEmpty { break }
    }
    return allowed == 0 ? .notFound : .methodNotAllowed(MethodSet(rawValue: allowed))
  }

  /// The bit of a method; the highest one for methods that no route names.
  @inline(__always)
  func methodBit(_ name: RawSpan) -> UInt64 {
    guard name.byteCount <= 16 else { return 1 << 63 }
    let word = UInt128(loadWord(name, 0)) | UInt128(loadWord(name, 8)) << 64
    var bit = 0
    while bit < storage.methods.count {
      if storage.methods[bit] == word { return 1 &<< UInt64(bit) }
      bit &+= 1
    }
    return 1 << 63
  }
}
