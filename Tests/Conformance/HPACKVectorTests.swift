import Core
import HTTP
import Testing

/// The bytes that hexadecimal digits spell; blanks are skipped.
func bytes(hex: String) -> [UInt8] {
  let digits = hex.filter { !$0.isWhitespace }.compactMap(\.hexDigitValue)
  return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// Collects fields as `name: value`.
struct FieldList: HPACKSink {
  var fields: [String] = []

  mutating func take(_ field: HPACKField, line: RawSpan) {
    fields.append(String(decoding: line.array.dropLast(2), as: UTF8.self))
  }
}

/// A decoder with what it needs, and the fields of its last block.
final class BlockReader {
  var decoder: HPACKDecoder
  let workspace = HPACKWorkspace()
  var list = FieldList()

  init(tableBytes: Int = 4_096) { decoder = HPACKDecoder(tableBytes: tableBytes) }

  func read(_ block: [UInt8], limits: HPACKLimits = HPACKLimits()) -> HPACKOutcome {
    list = FieldList()
    return decoder.decode(RawSpan(block), limits: limits, with: workspace, to: &list)
  }
}

@Suite("Published vectors, HPACK (RFC 7541 appendix C)")
struct HPACKVectorTests {
  struct Step: Sendable {
    let block: String
    let fields: [String]
    /// Bytes of the dynamic table afterwards.
    let size: Int
    let entryCount: Int
  }

  static let fieldForms: [Step] = [
    Step(
      block: "400a637573746f6d2d6b65790d637573746f6d2d686561646572", fields: ["custom-key: custom-header"], size: 55,
      entryCount: 1),
    Step(
      block: "040c2f73616d706c652f70617468", fields: [":path: /sample/path"], size: 0, entryCount: 0),
    Step(
      block: "100870617373776f726406736563726574", fields: ["password: secret"], size: 0, entryCount: 0),
    Step(block: "82", fields: [":method: GET"], size: 0, entryCount: 0),
  ]

  @Test("C.2: the four forms of a field", arguments: fieldForms)
  func forms(step: Step) {
    let reader = BlockReader()
    #expect(reader.read(bytes(hex: step.block)) == .complete)
    #expect(reader.list.fields == step.fields)
    #expect(reader.decoder.tableSize == step.size && reader.decoder.entryCount == step.entryCount)
  }

  static let requestFields: [[String]] = [
    [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
    [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
    [
      ":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com",
      "custom-key: custom-value",
    ],
  ]

  static func steps(_ blocks: [String], _ fields: [[String]], _ tables: [(size: Int, entryCount: Int)]) -> [Step] {
    blocks.indices.map {
      Step(block: blocks[$0], fields: fields[$0], size: tables[$0].size, entryCount: tables[$0].entryCount)
    }
  }

  static let requestSteps = [
    steps(
      [
        "828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
      ], requestFields, [(57, 1), (110, 2), (164, 3)]),
    steps(
      [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
      ], requestFields, [(57, 1), (110, 2), (164, 3)]),
  ]

  @Test("C.3 and C.4: requests of one connection, plain and with Huffman coding", arguments: requestSteps)
  func requests(steps: [Step]) {
    let reader = BlockReader()
    for step in steps { check(step, reader) }
  }

  static let responseFields: [[String]] = [
    [
      ":status: 302", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:21 GMT",
      "location: https://www.example.com",
    ],
    [
      ":status: 307", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:21 GMT",
      "location: https://www.example.com",
    ],
    [
      ":status: 200", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:22 GMT",
      "location: https://www.example.com", "content-encoding: gzip",
      "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ],
  ]

  static let responseSteps = [
    steps(
      [
        """
        4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f
        7777772e6578616d706c652e636f6d
        """, "4803333037c1c0bf",
        """
        88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b42
        5a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31
        """,
      ], responseFields, [(222, 4), (222, 4), (215, 3)]),
    steps(
      [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        """
        88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f
        3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007
        """,
      ], responseFields, [(222, 4), (222, 4), (215, 3)]),
  ]

  @Test("C.5 and C.6: responses whose entries push others out of a table of 256 bytes", arguments: responseSteps)
  func responses(steps: [Step]) {
    let reader = BlockReader(tableBytes: 256)
    for step in steps { check(step, reader) }
  }

  private func check(_ step: Step, _ reader: BlockReader) {
    #expect(reader.read(bytes(hex: step.block)) == .complete)
    #expect(reader.list.fields == step.fields)
    #expect(reader.decoder.tableSize == step.size && reader.decoder.entryCount == step.entryCount)
  }

  @Test(
    "C.1: integers, here as the index of a field or the length of a string",
    arguments: [
      // 10 in five bits is a table size; 1337 likewise, beyond one octet; 42 on an octet's boundary is an index.
      ("2a", HPACKOutcome.complete, []), ("3f9a0a", .complete, []), ("aa", .complete, ["if-range: "]),
    ] as [(String, HPACKOutcome, [String])])
  func integers(block: String, outcome: HPACKOutcome, fields: [String]) {
    let reader = BlockReader()
    #expect(reader.read(bytes(hex: block)) == outcome)
    #expect(reader.list.fields == fields)
  }
}
