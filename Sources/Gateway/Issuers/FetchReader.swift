import Core
import HTTP
import Pipeline

/// Reads an answer as it comes. Bounded in size.
public struct FetchReader {
  /// Bytes of an answer's head, with those of what came before it (RFC 9110 section 15.2).
  public static let headLimit = 16_384
  /// Bytes of an answer's body.
  public static let bodyLimit = 262_144

  static let tooLong = FetchOutcome.tooLong
  static let cutOff = FetchOutcome.failed("the answer has no end")
  private static let malformed = FetchOutcome.malformed

  private let method: Method
  private var headBytes = 0
  private var status: UInt16 = 0
  private var fields: [FetchField] = []
  private var body: [UInt8] = []
  private var reader: BodyReader?

  /// A reader of the answer to a request of this method.
  public init(_ method: Method) { self.method = method }

  /// Takes what there is of `input`; nil where there is more to come. With `atEnd` nothing more will. `head` is
  /// anybody's, and may hold anything.
  public mutating func read(_ input: ByteBuffer, _ head: ResponseHead, atEnd: Bool) -> FetchOutcome? {
    while reader == nil {
      switch head.parse(input, limits: HeadLimits(headBytes: Self.headLimit - headBytes)) {
      case .incomplete: return atEnd ? Self.cutOff : nil
      case .refused(let fault): return fault == .headTooLarge ? Self.tooLong : Self.malformed
      case .complete(let count):
        guard head.status != 101 else { return Self.malformed }
        if head.status >= 200 { begin(head) }
        headBytes += count
        input.consume(count)
        guard headBytes < Self.headLimit else { return Self.tooLong }
      }
    }
    if case .length(let count)? = reader?.framing, count > Self.bodyLimit { return Self.tooLong }
    return readBody(input, atEnd: atEnd)
  }

  private mutating func begin(_ head: ResponseHead) {
    status = UInt16(head.status)
    for index in 0..<head.fieldCount where !head.field(index).isDropped {
      let name = String(decoding: head.name(of: index).array, as: UTF8.self).lowercased()
      fields.append(FetchField(name, String(decoding: head.value(of: index).array, as: UTF8.self)))
    }
    reader = BodyReader(head.framing(for: method))
  }

  private mutating func readBody(_ input: ByteBuffer, atEnd: Bool) -> FetchOutcome? {
    while reader?.isComplete == false {
      switch reader?.next(input.bytes) {
      case .data(let skip, let count)?:
        guard body.count + count <= Self.bodyLimit else { return Self.tooLong }
        body += input.bytes.extracting(skip..<skip + count).array
        input.consume(skip + count)
      case .trailer(_, let consumed)?, .end(let consumed)?: input.consume(consumed)
      case .incomplete(let consumed)?:
        input.consume(consumed)
        guard atEnd else { return nil }
        guard reader?.endOfStream() == true else { return Self.cutOff }
      case .malformed?, nil: return Self.malformed
      }
    }
    return .answered(status: status, fields: fields, body: body)
  }
}
