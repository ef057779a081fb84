import Core

/// What all HPACK decoders and encoders of one loop share: the tables of RFC 7541 and memory to work in. Not `Sendable`;
/// about 14 KiB.
public final class HPACKWorkspace {
  let huffman = HPACKHuffman()
  let statics = HPACKStaticTable()
  /// The line of the field that is being decoded or encoded.
  let scratch = ByteBuffer(capacity: 512)
  /// Fields that were sent lately, as hashes: one that comes again is worth an entry in a dynamic table. That is a guess
  /// about the traffic, which connections may share.
  private var sentLately = InlineArray<1024, UInt32>(repeating: 0)

  /// Builds the tables.
  public init() {}

  /// Whether the field with that hash was sent lately; it is from now on.
  @inline(__always)
  func wasSentLately(_ hash: UInt32) -> Bool {
    // Pairs of slots, so that two fields that always come together do not hide each other.
    let slot = Int(hash >> 14 & 511) &* 2
    if sentLately[slot] == hash || sentLately[slot &+ 1] == hash { return true }
    sentLately[slot &+ 1] = sentLately[slot]
    sentLately[slot] = hash
    return false
  }
}

/// How large the fields of one message may be, as RFC 9113 section 6.5.2 counts them: 32 bytes for each field beyond its
/// name and value.
public struct HPACKLimits: BitwiseCopyable, Sendable {
  /// Bytes of all fields.
  public var listBytes: Int
  /// How many fields.
  public var fieldCount: Int

  /// By how many times a block may be beyond ``listBytes`` or ``fieldCount`` and still be read to its end, for the sake
  /// of the dynamic table; one that is larger is a bomb.
  public static let bombFactor = 4

  /// Limits of that size.
  public init(listBytes: Int = 65_536, fieldCount: Int = 100) {
    self.listBytes = listBytes
    self.fieldCount = fieldCount
  }
}

/// Why a field block is none; the connection cannot go on (RFC 9113 section 4.3).
public enum HPACKFault: UInt8, Error, CaseIterable, Sendable {
  /// The block ends within a field.
  case truncated
  /// An integer beyond 28 bits or four octets behind its prefix.
  case integerTooLarge
  /// No table has such an entry.
  case indexOutOfRange
  /// A string is not a Huffman code (RFC 7541 section 5.2).
  case malformedHuffman
  /// A dynamic table size update behind a field (RFC 7541 section 4.2).
  case lateSizeUpdate
  /// A dynamic table size update beyond what was announced (RFC 7541 section 6.3).
  case sizeUpdateTooLarge
}

/// The outcome of decoding a field block.
public enum HPACKOutcome: Equatable, Sendable {
  /// All fields were handed over.
  case complete
  /// The block was read to its end, but its fields are beyond a limit: refuse the message, the connection may go on.
  case exceeded(HTTP2Limit)
  /// The fields are so far beyond a limit that the block was not read to its end: close the connection.
  case bomb
  /// The block is none: close the connection.
  case malformed(HPACKFault)
}

/// Takes decoded fields.
public protocol HPACKSink: ~Copyable {
  /// One field; `line` is `name: value` and a CRLF, valid for the length of the call. Its bytes may be anything where
  /// `field` does not say otherwise.
  mutating func take(_ field: HPACKField, line: RawSpan)
}
