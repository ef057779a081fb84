import Core
import HTTP
import Pipeline

/// What the access log says about one request: plain data that the flow fills in when the request has ended.
///
/// Byte ranges count from the front of the request's head. An empty range, an index of −1 and a time of −1 stand for
/// what is not known; such members are left out of the line.
public struct AccessRecord: Sendable {
  /// When the request's first byte was seen.
  public var time = WallTime(microseconds: 0)
  /// The method as the client wrote it.
  public var method = ByteRange.empty
  /// The host, with its port if the client named one.
  public var host = ByteRange.empty
  /// The path without its query: queries carry keys, tokens and names, and logs are read by many.
  public var path = ByteRange.empty
  /// What the client calls itself.
  public var userAgent = ByteRange.empty
  /// The identifier that a trusted caller gave the request.
  public var requestID = ByteRange.empty
  /// Whether the client speaks TLS to the gateway.
  public var isSecure = false
  /// Whether it speaks HTTP/1.0.
  public var isHTTP10 = false
  /// The final status sent to the client; 0 where it left without one.
  public var status: UInt16 = 0
  /// How many upstream attempts were made; 0 where the gateway answered itself.
  public var attempts: UInt8 = 0
  /// The code of the gateway's own refusal.
  public var refusal: StaticString?
  /// The client's address as far as trusted hops vouch for it.
  public var client = IPAddress(high: 0, low: 0)
  /// The name of the decision, which is the request's identifier too.
  public var decision = DecisionID(high: 0, low: 0)
  /// The trace that the request belongs to; all zero for none.
  public var trace = TraceContext()
  /// Bytes received from the client, head and body.
  public var received: Int64 = 0
  /// Bytes sent to the client, head and body.
  public var sent: Int64 = 0
  /// From the first byte of the request to the last of the response.
  public var nanoseconds: Int64 = 0
  /// From the first byte sent to the upstream to the end of its response.
  public var upstreamNanoseconds: Int64 = -1
  /// Index of the route in ``AccessNames/routes``.
  public var route: Int32 = -1
  /// Index of the consumer in ``AccessNames/consumers``.
  public var consumer: Int32 = -1
  /// Index of the key in ``AccessNames/keys``; never a secret.
  public var key: Int32 = -1
  /// Index of the upstream's address in the table that is given with the record.
  public var endpoint: Int32 = -1
  /// Index in ``AccessNames/limits`` of the name of the first level that was asked.
  public var firstLimit: Int32 = -1

  /// A record of which nothing is known yet.
  public init() {}
}

/// The names that records refer to, of one configuration.
public final class AccessNames: Sendable {
  /// Routes by their index in the blueprint.
  public let routes: NameTable
  /// Consumers by their index in the key ring.
  public let consumers: NameTable
  /// Keys, by whatever index the records use.
  public let keys: NameTable
  /// Names of limit levels, those of one route one after the other.
  public let limits: NameTable

  /// What names can add to one line at most, in bytes.
  let longest: Int

  /// The names of one configuration.
  public init(routes: [String], consumers: [String], keys: [String], limits: [String]) {
    self.routes = NameTable(routes, before: ",\"route\":\"", after: "\"")
    self.consumers = NameTable(consumers, before: ",\"consumer\":\"", after: "\"")
    self.keys = NameTable(keys, before: ",\"key\":\"", after: "\"")
    self.limits = NameTable(limits, before: "{\"name\":\"", after: "\",\"remaining\":")
    let levels = self.limits.longest * LimitQuestion.capacity
    longest = self.routes.longest + self.consumers.longest + self.keys.longest + levels
  }
}

/// Texts that stand ready as parts of a line of JSON, all in one array.
public struct NameTable: Sendable {
  /// How much of a name is kept, in bytes: more than identifiers are allowed to have.
  public static let nameBytes = 256

  private let texts: [UInt8]
  private let ends: [UInt32]
  /// The length of the longest part.
  let longest: Int

  /// The table of these names, as the inside of JSON strings.
  public init(_ names: [String]) { self.init(names, before: "", after: "") }

  /// The table of these names with what stands around each of them in a line.
  init(_ names: [String], before: StaticString, after: StaticString) {
    let buffer = ByteBuffer()
    var ends: [UInt32] = [0]
    ends.reserveCapacity(names.count + 1)
    var longest = 0
    for name in names {
      let bytes = Array(name.utf8.prefix(Self.nameBytes))
      unsafe buffer.append(limit: AccessLogLine.room(for: Self.nameBytes * AccessLogLine.growth)) { memory in
        var line = unsafe AccessLogLine(memory)
        line.plain(before)
        line.text(RawSpan(bytes), ByteRange(start: 0, count: UInt32(bytes.count)), limit: Self.nameBytes)
        line.plain(after)
        longest = max(longest, line.count)
        return line.count
      }
      ends.append(UInt32(buffer.count))
    }
    // What copies a part reads whole blocks of sixteen.
    for _ in 0..<16 { buffer.append(0) }
    texts = buffer.array
    self.ends = ends
    self.longest = longest
  }

  /// How many names there are.
  public var count: Int { ends.count - 1 }

  /// Whether there is a name with this index.
  @inline(__always)
  func contains(_ index: Int32) -> Bool { index >= 0 && Int(index) &+ 1 < ends.count }

  /// Adds the part with an index that ``contains(_:)``.
  @inline(__always)
  func write(_ index: Int32, to line: inout AccessLogLine) {
    let start = Int(ends[Int(index)])
    line.plain(RawSpan(texts), from: start, count: Int(ends[Int(index) &+ 1]) &- start)
  }
}
