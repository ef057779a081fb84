import Core
import HTTP
import Pipeline

/// The names that lines of the access log refer to by their index, of one configuration.
public final class AccessNames: Sendable {
  /// Routes by their index in the blueprint.
  public let routes: NameTable
  /// Consumers by their index in the key ring.
  public let consumers: NameTable
  /// Keys, by whatever index the log uses.
  public let keys: NameTable
  /// Names of limit levels, those of one route one after the other.
  public let limits: NameTable
  /// Names of policies in shadow, those of one route one after the other.
  public let shadows: NameTable

  /// The room for a line with such names, but for the upstream's and the code of a refusal, in bytes.
  let room: Int

  /// The room for the verdicts of policies in shadow.
  var shadowRoom: Int {
    AccessLogLine.room(for: ShadowVerdicts.capacity * (shadows.longest + AccessLog.Limit.code))
  }

  /// The names of one configuration.
  public init(
    routes: [String], consumers: [String], keys: [String], limits: [String], shadows: [String] = [],
    tenants: [String?] = []
  ) {
    self.routes = NameTable(routes, before: ",\"route\":\"", after: "\"")
    self.consumers = NameTable(consumers, before: ",\"consumer\":\"", after: "\"", tenants: tenants)
    self.keys = NameTable(keys, before: ",\"key\":\"", after: "\"")
    self.limits = NameTable(limits, before: "{\"name\":\"", after: "\",\"remaining\":")
    self.shadows = NameTable(shadows, before: "{\"policy\":\"", after: "\",\"code\":\"")
    let longest = self.routes.longest + self.consumers.longest + self.keys.longest
    let levels = self.limits.longest * LimitQuestion.capacity
    // The last is for a consumer, a tenant and a key that the configuration does not know, of 128 bytes each.
    room = AccessLogLine.room(for: AccessLog.Limit.all * AccessLogLine.growth + longest + levels + 2048)
  }
}

/// Texts that stand ready as parts of a line of JSON, all in one array.
public final class NameTable: Sendable {
  /// How much of a name is kept, in bytes: more than identifiers are allowed to have.
  public static let nameBytes = 256

  /// The parts, and ``AccessLogLine/nameSlack`` bytes behind them.
  private let texts: [UInt8]
  /// Where each part begins in the array, and where the last one ends.
  private let starts: [UInt32]
  /// The length of the longest part.
  let longest: Int

  /// The table of the addresses of an upstream.
  public convenience init(_ addresses: [String]) { self.init(addresses, before: ",\"upstream\":\"", after: "\"") }

  /// The table of these names with what stands around each of them in a line, and with the tenants behind them, as far as there
  /// are any.
  init(_ names: [String], before: StaticString, after: StaticString, tenants: [String?] = []) {
    let buffer = ByteBuffer()
    var starts: [UInt32] = [0]
    starts.reserveCapacity(names.count + 1)
    var longest = 0
    for (index, name) in names.enumerated() {
      let bytes = Array(name.utf8.prefix(Self.nameBytes))
      let tenant = index < tenants.count ? tenants[index].map { Array($0.utf8.prefix(Self.nameBytes)) } : nil
      unsafe buffer.append(limit: AccessLogLine.room(for: 2 * Self.nameBytes * AccessLogLine.growth)) { memory in
        var line = unsafe AccessLogLine(memory)
        line.plain(before)
        line.text(RawSpan(bytes), ByteRange(start: 0, count: UInt32(bytes.count)), limit: Self.nameBytes)
        line.plain(after)
        if let tenant {
          line.plain(",\"tenant\":\"")
          line.text(RawSpan(tenant), ByteRange(start: 0, count: UInt32(tenant.count)), limit: Self.nameBytes)
          line.plain("\"")
        }
        longest = max(longest, line.count)
        return line.count
      }
      starts.append(UInt32(buffer.count))
    }
    for _ in 0..<AccessLogLine.nameSlack { buffer.append(0) }
    texts = buffer.array
    self.starts = starts
    self.longest = longest
  }

  /// How many names there are.
  public var count: Int { starts.count - 1 }

  /// Adds the part with this index to a line that has room for the longest one. False, and nothing, where there is none.
  @inline(__always)
  @discardableResult
  func write(_ index: Int32, to line: inout AccessLogLine) -> Bool {
    // An index below zero becomes a large one.
    let next = UInt(UInt32(bitPattern: index)) &+ 1
    guard next < UInt(bitPattern: starts.count) else { return false }
    return unsafe starts.withUnsafeBufferPointer { starts in
      let start = unsafe Int(starts[unchecked: Int(bitPattern: next) &- 1])
      let end = unsafe Int(starts[unchecked: Int(bitPattern: next)])
      return unsafe texts.withUnsafeBytes { texts in
        // Both arrays were made together: starts ascend, and the last one has ``AccessLogLine/nameSlack`` bytes behind it.
        unsafe line.name(texts.baseAddress.unsafelyUnwrapped + start, count: end &- start)
        return true
      }
    }
  }
}

extension UnsafeBufferPointer {
  /// An element that is there: whoever asks has compared the index.
  @inline(__always)
  fileprivate subscript(unchecked index: Int) -> Element {
    assert(index >= 0 && index < count)
    return unsafe baseAddress.unsafelyUnwrapped[index]
  }
}
