import Core
import Crypto
import Pipeline

/// How it stands with what a device wants: a record that nodes share, sealed. The device's code and what its user's code
/// stands for say what it wants, and are good without this; this says what became of it.
enum DeviceState: Equatable, Sendable {
  /// The user has not answered; the device may ask once in so many seconds, and has asked last at this millisecond of
  /// civil time.
  case pending(interval: Int64, askedAt: Int64)
  /// The user has said no.
  case denied
  /// The user has said yes.
  case granted(Grant)

  /// Seconds between two questions at first, and how many more there are for each one that comes too early.
  static let interval: Int64 = 5
  /// The most that it comes to.
  static let longestInterval: Int64 = 60
  /// How much earlier a question may come, in milliseconds: clocks of nodes are apart.
  private static let leeway: Int64 = 500
  /// What records are called that states are in, and those that codes of users lead to.
  static let (purpose, codePurpose) = ("oauth-device", "oauth-user-code")

  /// The record; its text is nobody's but the cluster's, and of one device.
  func record(of device: String, issuer: String, _ ring: SealingRing) -> [UInt8] {
    var writer = JSONWriter(ByteBuffer(capacity: 256))
    writer.beginObject()
    switch self {
    case .pending(let interval, let askedAt):
      writer.member("i", interval)
      writer.member("a", askedAt)
    case .denied: writer.member("d", 1)
    case .granted(let grant):
      writer.key("g")
      writer.raw(String(decoding: grant.text, as: UTF8.self))
    }
    writer.endObject()
    return ring.seal(writer.buffer.array, context: Self.context(device, issuer))
  }

  /// Reads ``record(of:issuer:_:)``; nil for anything else.
  init?(_ record: [UInt8], of device: String, issuer: String, _ ring: SealingRing) {
    guard let text = ring.open(record, context: Self.context(device, issuer)),
      let root = JSONDocument.parse(text, dialect: .strict).document?.root
    else { return nil }
    if let value = root["g"] {
      guard let grant = Grant(value) else { return nil }
      self = .granted(grant)
    } else if let interval = root["i"]?.integer, let askedAt = root["a"]?.integer {
      self = .pending(interval: interval, askedAt: askedAt)
    } else if root["d"] != nil {
      self = .denied
    } else {
      return nil
    }
  }

  /// What a question at this millisecond makes of it while it is pending, and whether it came too early.
  func asked(at moment: Int64) -> (state: DeviceState, isEarly: Bool)? {
    guard case .pending(let interval, let askedAt) = self else { return nil }
    let isEarly = moment - askedAt < interval * 1_000 - Self.leeway
    let next = isEarly ? min(interval + Self.interval, Self.longestInterval) : interval
    return (.pending(interval: next, askedAt: moment), isEarly)
  }

  private static func context(_ device: String, _ issuer: String) -> [UInt8] {
    Array("device \(device) \(issuer)".utf8)
  }
}

/// A device's request for codes on its way.
final class DeviceStart {
  let grant: Grant
  let code: String
  var userCode = UserCode.fresh()
  /// How many codes of users have been tried.
  var tries = 0
  /// Whether the device's own record is there.
  var isKept = false

  init(_ grant: Grant, code: String) { (self.grant, self.code) = (grant, code) }
}

/// A device's question on its way.
enum DevicePoll {
  case reading
  /// It came in time, or too early, and that is being noted.
  case noting(isEarly: Bool)
  case taking
  /// It is the device's.
  case taken(Grant)
}
