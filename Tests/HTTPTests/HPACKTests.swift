import Core
import HTTP
import Testing

/// Collects fields as `name: value`.
struct FieldList: HPACKSink {
  var fields: [String] = []
  var kinds: [HPACKFieldKind] = []
  var sound: [Bool] = []

  mutating func take(_ field: HPACKField, line: RawSpan) {
    fields.append(line.extracting(0..<line.byteCount - 2).text)
    kinds.append(field.kind)
    sound.append(field.isValueSound)
  }
}

/// An encoder and the decoder of its peer.
final class FieldPipe {
  var encoder = HPACKEncoder()
  var decoder: HPACKDecoder
  let workspace = HPACKWorkspace()
  var list = FieldList()
  /// The last block that was sent.
  private(set) var block: [UInt8] = []

  init(tableBytes: Int = 4_096) { decoder = HPACKDecoder(tableBytes: tableBytes) }

  func read(_ bytes: [UInt8], limits: HPACKLimits = HPACKLimits()) -> HPACKOutcome {
    list = FieldList()
    return decoder.decode(RawSpan(bytes), limits: limits, with: workspace, to: &list)
  }

  /// Sends fields through both; the result is how many bytes the block had.
  func send(_ fields: [(String, String)], isSensitive: Bool = false) -> Int {
    let block = ByteBuffer()
    encoder.begin(to: block)
    for (name, value) in fields {
      let (nameText, valueText) = (buffer(name), buffer(value))
      encoder.append(
        name: nameText.bytes, value: valueText.bytes, known: FieldName.of(nameText.bytes), isSensitive: isSensitive,
        with: workspace, to: block)
    }
    list = FieldList()
    let outcome = decoder.decode(block.bytes, limits: HPACKLimits(), with: workspace, to: &list)
    #expect(outcome == .complete)
    self.block = block.bytes.array
    return block.count
  }
}

@Suite("HPACK decoder")
struct HPACKDecoderTests {
  static func text(_ name: String, _ value: String, first: UInt8 = 0x40) -> [UInt8] {
    [first, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)] + Array(value.utf8)
  }

  @Test(
    "Refuses what is no field block, each fault by its name",
    arguments: [
      ([0x80], .indexOutOfRange), ([0xbe], .indexOutOfRange), ([0xff, 0xff, 0xff, 0x01], .indexOutOfRange),
      ([0x7e, 0x00], .indexOutOfRange), ([0xff], .truncated), ([0xff, 0x80], .truncated), ([0x40], .truncated),
      ([0x40, 0x05, 0x61], .truncated), ([0x40, 0x01, 0x61], .truncated), ([0x41, 0x7f, 0xff, 0xff], .truncated),
      ([0xff, 0x80, 0x80, 0x80, 0x80, 0x01], .integerTooLarge),
      ([0x41, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], .integerTooLarge),
      // Padding of eight bits, padding with a zero in it, a cut code, and the end-of-string symbol.
      ([0x41, 0x82, 0x1f, 0xff], .malformedHuffman), ([0x41, 0x81, 0x1e], .malformedHuffman),
      ([0x41, 0x81, 0xfe], .malformedHuffman), ([0x41, 0x84, 0xff, 0xff, 0xff, 0xff], .malformedHuffman),
      ([0x82, 0x20], .lateSizeUpdate), ([0x3f, 0xe2, 0x1f], .sizeUpdateTooLarge),
    ] as [([UInt8], HPACKFault)])
  func refusals(block: [UInt8], fault: HPACKFault) {
    #expect(FieldPipe().read(block) == .malformed(fault))
  }

  @Test("Takes table size updates in front of fields, up to what was announced")
  func sizeUpdates() {
    let pipe = FieldPipe()
    #expect(pipe.read(Self.text("a", "b")) == .complete)
    #expect(pipe.decoder.entryCount == 1)
    #expect(pipe.read([0x20, 0x3f, 0xe1, 0x1f, 0x82]) == .complete)
    #expect(pipe.decoder.entryCount == 0 && pipe.list.fields == [":method: GET"])
  }

  @Test(
    "Tells what a field is",
    arguments: [
      (":path", .path), (":authority", .authority), (":x", .unknownPseudo), (":", .unknownPseudo),
      ("cookie", .cookie), ("connection", .connectionSpecific), ("transfer-encoding", .connectionSpecific),
      ("keep-alive", .connectionSpecific), ("proxy-connection", .connectionSpecific),
      ("upgrade", .connectionSpecific), ("te", .te), ("host", .host), ("priority", .priority), ("x_y.z~", .plain),
      ("Accept", .malformedName), ("a b", .malformedName), ("a:b", .malformedName), ("", .malformedName),
      ("a\r", .malformedName), ("\u{e4}", .malformedName),
    ] as [(String, HPACKFieldKind)])
  func kinds(name: String, kind: HPACKFieldKind) {
    let pipe = FieldPipe()
    // Once as a literal and once from the table.
    #expect(pipe.read(Self.text(name, "v") + [0xbe]) == .complete)
    #expect(pipe.list.kinds == [kind, kind])
  }

  @Test(
    "Tells values that may stand in a field line from those that may not",
    arguments: [
      ("", true), ("a", true), ("a\tb", true), ("\u{e9}", true), (" a", false), ("a ", false), ("\ta", false),
      ("a\t", false), ("a\r\nb", false), ("a\nb", false), ("a\0", false), ("a\u{7f}b", false), ("\u{1}", false),
    ])
  func values(value: String, isSound: Bool) {
    let pipe = FieldPipe()
    #expect(pipe.read(Self.text("x", value) + [0xbe]) == .complete)
    #expect(pipe.list.sound == [isSound, isSound])
  }

  @Test("A list beyond a limit is counted to its end, and the table stays right")
  func exceeded() {
    let pipe = FieldPipe()
    let block = Self.text("a", "1") + Self.text("b", "2") + Self.text("c", "3")
    #expect(pipe.read(block, limits: HPACKLimits(fieldCount: 2)) == .exceeded(.fieldCount))
    #expect(pipe.list.fields == ["a: 1", "b: 2"])
    #expect(pipe.read(block, limits: HPACKLimits(listBytes: 67)) == .exceeded(.headerListBytes))
    #expect(pipe.list.fields == ["a: 1"])
    #expect(pipe.decoder.entryCount == 6)
    #expect(pipe.read([0xbe, 0xbf, 0xc0]) == .complete)
    #expect(pipe.list.fields == ["c: 3", "b: 2", "a: 1"])
  }

  @Test("A bomb of references ends as soon as it is one")
  func bomb() {
    let pipe = FieldPipe()
    let value = [UInt8](repeating: 0x61, count: 4_000)
    let entry: [UInt8] = [0x40, 1, 0x78, 0x7f, 0xa1, 0x1e] + value
    #expect(pipe.read(entry) == .complete)
    let block = [UInt8](repeating: 0xbe, count: 16_000)
    #expect(pipe.read(block, limits: HPACKLimits(listBytes: 16_384, fieldCount: 1_000)) == .bomb)
    #expect(pipe.list.fields.count == 4)
    #expect(pipe.read([UInt8](repeating: 0x82, count: 500), limits: HPACKLimits(fieldCount: 100)) == .bomb)
    #expect(pipe.list.fields.count == 100)
  }

  @Test("An entry larger than the table empties it")
  func tooLarge() {
    let pipe = FieldPipe(tableBytes: 64)
    #expect(pipe.read(Self.text("a", "b") + Self.text("long", String(repeating: "x", count: 60))) == .complete)
    #expect(pipe.decoder.entryCount == 0 && pipe.decoder.tableSize == 0)
  }

  @Test("A table that turns over thousands of entries keeps its newest and its memory")
  func turnover() {
    let pipe = FieldPipe()
    for number in 0..<5_000 {
      let value = String(repeating: "v", count: number % 97) + "\(number)"
      #expect(pipe.read(Self.text("x-\(number % 7)", value) + [0xbe]) == .complete)
      #expect(pipe.list.fields == ["x-\(number % 7): \(value)", "x-\(number % 7): \(value)"])
    }
    #expect(pipe.decoder.tableSize <= 4_096 && pipe.decoder.footprint < 12_000)
  }

  @Test("Nothing is allocated before the first entry")
  func idle() {
    let pipe = FieldPipe()
    #expect(pipe.read([0x82, 0x84, 0x86]) == .complete)
    #expect(pipe.decoder.footprint == 0)
  }
}

@Suite("HPACK encoder")
struct HPACKEncoderTests {
  @Test("What it writes is read as it was, with names in lower case")
  func roundTrip() {
    let pipe = FieldPipe()
    for round in 0..<50 {
      let fields = [
        ("Content-Type", "application/json"), ("X-Request-Id", "\(round * 7_919)"), ("Server", "sluice"),
        ("X-Long", String(repeating: "ab\u{e9}", count: round)), ("Empty", ""), ("vary", "accept-encoding"),
      ]
      _ = pipe.send(fields)
      #expect(pipe.list.fields == fields.map { "\($0.0.lowercased()): \($0.1)" }.map { buffer($0).bytes.text })
    }
  }

  @Test("A field that repeats becomes one byte, one that changes does not push it out")
  func repeated() {
    let pipe = FieldPipe()
    var sizes: [Int] = []
    for round in 0..<200 {
      sizes.append(pipe.send([("server", "sluice"), ("x-request-id", "id-\(round)"), ("x-env", "production")]))
    }
    #expect(sizes[0] > 40 && sizes[10] == 2 + 1 + 1 + 12 + 1 + 5)
    #expect(sizes[199] == sizes[10] + 1)
    #expect(pipe.encoder.entryCount == 2)
  }

  @Test("Secrets are never indexed, by their name or by the caller's word", arguments: [true, false])
  func sensitive(byWord: Bool) {
    let pipe = FieldPipe()
    let fields =
      byWord
      ? [("x-token", "secret")]
      : [("authorization", "Bearer a"), ("cookie", "a=b"), ("Set-Cookie", "a=b"), ("x-api-key", "k")]
    // What the encoder says about its table goes first.
    _ = pipe.send([])
    for _ in 0..<4 {
      for field in fields {
        _ = pipe.send([field], isSensitive: byWord)
        // RFC 7541 section 6.2.3.
        #expect(pipe.block[0] & 0xf0 == 0x10)
      }
    }
    #expect(pipe.encoder.entryCount == 0 && pipe.decoder.entryCount == 0)
  }

  @Test(
    "It obeys the peer's table size, and says so in front of the next block", arguments: [0, 40, 100, 1_000, 65_536])
  func tableSize(bytes: Int) {
    let pipe = FieldPipe()
    let fields = (0..<20).map { ("x-\($0)", "value") }
    for _ in 0..<3 { _ = pipe.send(fields) }
    #expect(pipe.encoder.entryCount == 20)
    pipe.encoder.setAllowedTableBytes(bytes)
    for _ in 0..<3 {
      _ = pipe.send(fields)
      #expect(pipe.list.fields == fields.map { "\($0.0): \($0.1)" })
      #expect(pipe.decoder.tableSize <= min(bytes, HPACKEncoder.tableBytes))
    }
  }

  @Test("Shrinking drops the table on both sides")
  func shrink() {
    let pipe = FieldPipe()
    for _ in 0..<3 { _ = pipe.send([("server", "sluice")]) }
    #expect(pipe.decoder.entryCount == 1)
    pipe.encoder.shrink()
    #expect(pipe.encoder.footprint == 0)
    _ = pipe.send([("x", "y")])
    #expect(pipe.decoder.entryCount == 0)
    for _ in 0..<3 { _ = pipe.send([("server", "sluice")]) }
    #expect(pipe.decoder.entryCount == 1 && pipe.list.fields == ["server: sluice"])
  }

  @Test("Thousands of different repeated fields keep both tables alike")
  func churn() {
    let pipe = FieldPipe()
    for round in 0..<3_000 {
      let fields = (0..<4).map { ("x-\((round / 2 + $0) % 90)", String(repeating: "v", count: (round / 2) % 40)) }
      _ = pipe.send(fields)
      #expect(pipe.list.fields == fields.map { "\($0.0): \($0.1)" })
    }
    #expect(pipe.encoder.entryCount > 8 && pipe.encoder.footprint < 8_192)
  }

  @Test("Every byte survives Huffman coding", arguments: [1, 2, 3, 5, 17, 300])
  func huffman(count: Int) {
    let pipe = FieldPipe()
    for byte in 0..<256 {
      // Text that Huffman coding shortens, with any byte in it.
      let value = String(repeating: "a", count: 60) + String(repeating: "\(Unicode.Scalar(UInt8(byte)))", count: count)
      let list = pipe.send([("x", value)]) + pipe.send([("x", value)]) + pipe.send([("x", value)])
      #expect(list > 0 && pipe.list.fields == [buffer("x: " + value).bytes.text])
    }
  }
}
