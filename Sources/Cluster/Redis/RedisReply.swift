import CHiredis
import Core

/// A whole reply of a server, as hiredis has built it. Freed when it goes.
@safe
public struct RedisReply: ~Copyable {
  private let root: UnsafeMutablePointer<redisReply>

  /// Takes the ownership of what a reader returned.
  init(owning root: UnsafeMutablePointer<redisReply>) { unsafe self.root = root }

  deinit { unsafe freeReplyObject(root) }

  /// What it says; a view that costs nothing.
  public var value: RedisValue {
    @_lifetime(borrow self)
    get {
      // The tree below `root` does not change, and `self` owns it.
      let value = unsafe RedisValue(root)
      return unsafe _overrideLifetime(value, borrowing: self)
    }
  }
}

extension RedisReply {
  /// What the reply refuses; nil where it is no refusal.
  public var error: RedisError? {
    let value = value
    return value.error
  }
}

/// A view of a reply or of a part of one. Nothing is copied.
@safe
public struct RedisValue: ~Escapable {
  /// What it is.
  public enum Kind: Sendable {
    /// Bytes of any kind.
    case bytes
    /// A short text such as `OK`.
    case status
    /// A refusal; see ``RedisValue/error``.
    case error
    /// A number.
    case integer
    /// Nothing where something could have been.
    case null
    /// A list of values.
    case array
  }

  private let node: UnsafeMutablePointer<redisReply>

  @_lifetime(immortal)
  init(_ node: UnsafeMutablePointer<redisReply>) { unsafe self.node = node }

  /// What it is.
  public var kind: Kind {
    switch unsafe node.pointee.type {
    case REDIS_REPLY_STRING: .bytes
    case REDIS_REPLY_STATUS: .status
    case REDIS_REPLY_ERROR: .error
    case REDIS_REPLY_INTEGER: .integer
    case REDIS_REPLY_ARRAY: .array
    default: .null
    }
  }

  /// The number; nil for everything else.
  public var integer: Int64? { kind == .integer ? unsafe node.pointee.integer : nil }

  /// The bytes, the status or the refusal's text; empty for everything else.
  public var bytes: RawSpan {
    @_lifetime(copy self)
    get {
      // hiredis keeps `len` bytes there for as long as the reply lives; other kinds have neither.
      let isText = kind == .bytes || kind == .status || kind == .error
      let start = unsafe UnsafeRawPointer(node.pointee.str) ?? UnsafeRawPointer(node)
      let count = unsafe isText && node.pointee.str != nil ? node.pointee.len : 0
      let span = unsafe RawSpan(_unsafeStart: start, byteCount: count)
      return unsafe _overrideLifetime(span, copying: self)
    }
  }

  /// ``bytes`` as text; what is no UTF-8 is replaced.
  public var text: String { unsafe bytes.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) } }

  /// How many values the array has; 0 for everything else.
  public var count: Int { kind == .array ? unsafe node.pointee.elements : 0 }

  /// The value at `index` of the array.
  public subscript(index: Int) -> RedisValue {
    @_lifetime(copy self)
    get {
      precondition(index >= 0 && index < count)
      // An array has `elements` elements, and a whole reply has no missing ones.
      guard let element = unsafe node.pointee.element[index] else { preconditionFailure("a reply with a hole") }
      return unsafe _overrideLifetime(RedisValue(element), copying: self)
    }
  }

  /// What a refusal means; nil for everything else.
  public var error: RedisError? { kind == .error ? RedisError(bytes) : nil }

  /// Whether ``bytes`` are those of `text`.
  public func equals(_ text: StaticString) -> Bool {
    let bytes = bytes
    guard bytes.byteCount == text.utf8CodeUnitCount else { return false }
    for index in 0..<bytes.byteCount where unsafe bytes[byte: index] != text.utf8Start[index] { return false }
    return true
  }
}
