import Core
import HTTP
import Testing

@Suite("ChunkedDecoder")
struct ChunkedDecoderTests {
  enum Outcome: Equatable {
    case ended(rest: Int), unfinished
    case malformed(HTTPFault)
  }

  struct Decoded: Equatable {
    var body = ""
    var trailers: [String] = []
    var forbidden: [String] = []
    var outcome = Outcome.unfinished
  }

  /// Decodes `text` as it arrives in pieces of `step` bytes.
  static func decode(_ text: String, step: Int, trailerBytesLimit: Int = 100) -> Decoded {
    var decoder = ChunkedDecoder(trailerBytesLimit: trailerBytesLimit)
    var decoded = Decoded()
    let source = buffer(text)
    let received = ByteBuffer()
    while !source.isEmpty {
      let count = min(step, source.count)
      received.append(source.bytes.extracting(0..<count))
      source.consume(count)
      var isWaiting = false
      while !isWaiting {
        let bytes = received.bytes
        var consumed = 0
        switch decoder.next(bytes) {
        case .data(let skip, let count):
          decoded.body += bytes.extracting(skip..<skip + count).text
          consumed = skip + count
        case .trailer(let name, let value, let isForbidden, let count):
          let line = bytes.extracting(name.offsets).text + "=" + bytes.extracting(value.offsets).text
          if isForbidden { decoded.forbidden.append(line) } else { decoded.trailers.append(line) }
          consumed = count
        case .incomplete(let count):
          consumed = count
          isWaiting = true
        case .end(let count):
          decoded.outcome = .ended(rest: received.count - count + source.count)
          return decoded
        case .malformed(let fault):
          decoded.outcome = .malformed(fault)
          return decoded
        }
        received.consume(consumed)
      }
    }
    return decoded
  }

  static let faults: [(String, HTTPFault)] = [
    ("\r\n", .malformedChunkSize), ("g\r\n", .malformedChunkSize), (" 5\r\nhello", .malformedChunkSize),
    ("5 \r\nhello", .malformedChunkSize), ("5\t\r\nhello", .malformedChunkSize), ("+5\r\nhello", .malformedChunkSize),
    ("-5\r\nhello", .malformedChunkSize), ("0x5\r\nhello", .malformedChunkSize), ("5,\r\nhello", .malformedChunkSize),
    (";a\r\n", .malformedChunkSize), ("5\u{0}\r\n", .malformedChunkSize),
    ("\n", .bareLF), ("5\nhello\r\n0\r\n\r\n", .bareLF), ("5\rhello", .bareCR), ("5;a\nhello", .bareLF),
    ("10000000000000005\r\nhello", .chunkTooLarge), ("0000000000000005\r\nhello", .chunkTooLarge),
    ("ffffffffffffffff\r\n", .chunkTooLarge),
    ("5;\r\nhello", .malformedChunkExtension), ("5; a\r\nhello", .malformedChunkExtension),
    ("5;a \r\nhello", .malformedChunkExtension), ("5;a=\r\nhello", .malformedChunkExtension),
    ("5;a=b c\r\nhello", .malformedChunkExtension), ("5;a=\"b\r\nhello", .malformedChunkExtension),
    ("5;a=\"b\"c\r\nhello", .malformedChunkExtension), ("5;a=\"\\\r\n\"", .malformedChunkExtension),
    ("5;a=\"\n\"", .bareLF), ("5;a\rb", .bareCR), ("5;=b\r\n", .malformedChunkExtension),
    ("5;" + String(repeating: "a", count: 5_000) + "\r\nhello", .chunkExtensionsTooLong),
    ("5\r\nhelloX\r\n0\r\n\r\n", .malformedChunkEnd), ("5\r\nhello\n0\r\n\r\n", .malformedChunkEnd),
    ("5\r\nhello\r0\r\n\r\n", .malformedChunkEnd), ("5\r\nhello0\r\n\r\n", .malformedChunkEnd),
    ("0\r\nX\r\n\r\n", .malformedTrailer), ("0\r\n: a\r\n\r\n", .malformedTrailer),
    ("0\r\nX : a\r\n\r\n", .malformedTrailer), ("0\r\nX: a\r\n b\r\n\r\n", .malformedTrailer),
    ("0\r\nX: \u{0}\r\n\r\n", .malformedTrailer), ("0\r\nX: \u{7f}\r\n\r\n", .malformedTrailer),
    ("0\r\nX: a\n\r\n", .bareLF), ("0\r\n\n", .bareLF), ("0\r\nX: a\rb\r\n\r\n", .bareCR), ("0\r\n\r\r\n", .bareCR),
    ("0\r\nX: " + String(repeating: "a", count: 100) + "\r\n\r\n", .trailersTooLong),
    ("0\r\n" + String(repeating: "X: a\r\n", count: 20) + "\r\n", .trailersTooLong),
  ]

  @Test("A body that two readers could end in two places is refused", arguments: faults)
  func malformed(text: String, fault: HTTPFault) {
    for step in [1, 2, 5, 10_000] {
      #expect(Self.decode(text, step: step).outcome == .malformed(fault), "in pieces of \(step)")
    }
  }

  @Test(
    "Bodies come out as they went in, however they are cut",
    arguments: [
      ("0\r\n\r\n", ""), ("5\r\nhello\r\n0\r\n\r\n", "hello"),
      ("5\r\nhello\r\n6\r\n world\r\n000\r\n\r\n", "hello world"),
      ("00000A\r\n0123456789\r\na;x\r\n\r\n\r\n\r\n\r\n\r\n\r\n0;y\r\n\r\n", "0123456789\r\n\r\n\r\n\r\n\r\n"),
      ("1;a;b=c;d=\"e;f\\\"\u{e9}\t\"\r\nx\r\n0\r\n\r\n", "x"),
    ])
  func bodies(text: String, body: String) {
    for step in [1, 2, 3, 10_000] {
      let decoded = Self.decode(text + "GET", step: step)
      #expect(decoded.body == body)
      #expect(decoded.outcome == .ended(rest: 3))
    }
  }

  @Test("Trailers are told apart from those that may not be passed on")
  func trailers() {
    let text = "1\r\nx\r\n0\r\nDigest: \t a=b \r\nX-Sum:\r\nContent-Length: 5\r\nhost: x\r\nAuthorization: y\r\n\r\n"
    for step in [1, 4, 10_000] {
      let decoded = Self.decode(text, step: step)
      #expect(decoded.trailers == ["Digest=a=b", "X-Sum="])
      #expect(decoded.forbidden == ["Content-Length=5", "host=x", "Authorization=y"])
      #expect(decoded.outcome == .ended(rest: 0))
    }
  }

  @Test(
    "A trailer with an underscore, which CGI takes for a dash, is forbidden",
    arguments: ["Content_Length", "x_forwarded_for", "X_A"])
  func underscores(name: String) {
    let decoded = Self.decode("0\r\n\(name): 1\r\n\r\n", step: 10_000)
    #expect(decoded.trailers.isEmpty && decoded.forbidden == ["\(name)=1"])
  }

  @Test("Framing that has been understood is consumed, so a slow sender keeps nothing in the buffer")
  func consumption() {
    var decoder = ChunkedDecoder()
    let line = buffer("5;name=value\r")
    #expect(decoder.next(line.bytes) == .incomplete(consumed: 13))
    let rest = buffer("\nhel")
    #expect(decoder.next(rest.bytes) == .data(skip: 1, count: 3))
    #expect(!decoder.hasEnded)
    let last = buffer("lo\r\n0\r\n\r\n")
    #expect(decoder.next(last.bytes) == .data(skip: 0, count: 2))
    last.consume(2)
    #expect(decoder.next(last.bytes) == .end(consumed: 7))
    #expect(decoder.hasEnded)
    last.consume(7)
    #expect(decoder.next(last.bytes) == .end(consumed: 0))
  }

  @Test("The largest chunk is counted right")
  func largest() {
    var decoder = ChunkedDecoder()
    let text = buffer("fffffffffffffff\r\nab")
    #expect(decoder.next(text.bytes) == .data(skip: 17, count: 2))
  }
}
