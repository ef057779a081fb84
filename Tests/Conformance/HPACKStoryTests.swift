import Core
import HTTP
import Testing

/// A connection's worth of blocks as another implementation (`hpack` 4 for Python) encodes them: with Huffman
/// coding and without, a table that is filled, made smaller and larger again.
@Suite("HPACK, blocks of another implementation")
struct HPACKStoryTests {
  static let story: [(block: String, changed: [String])] = [
    (
      """
      8287418b1d665cbe474d7415721e9f449a63b8583d9216c4300ff2b1cc5801f1da0ffea4d4485ff959ab2f7a99d07f66a281b0dae053fafc
      087ed4ce6aadf2a7979c89c6bfbf538b1d75d0620d263d4c7441ea50879bd9abfa523b3f609b4150831ea81576eff2693f9559842255dbff
      6a2672d258241d9d7f
      """,
      [":path: /v1/orders/0?page=0&q=~tilde|pipe"]
    ),
    (
      """
      8287c3449463b8583d9216c430c87fcac731600fc76807fee3c2c1c0bf4089f2b585ed6950958d279771b0b227405138f941232eca21bad4
      8569b115c8da65ef
      """,
      [
        ":path: /v1/orders/31?page=1&q=a+b",
        "x-request-id: 6513270e269e0d37f2a74de452e6b438",
      ]
    ),
    (
      """
      8287c544192f76312f6f72646572732f36323f706167653d3226713d7b7dc4c3c2c1
      """,
      [":path: /v1/orders/62?page=2&q={}"]
    ),
    (
      """
      8287c6449863b8583d9216c430fb3fe56398b033f1da0fffe1ffe7ffdfc5c4c3c27f0197904cca0784d044f46295964046c8ecb2006e0d91
      b4d83f4086f2b47e92547fdcfe3f9ffaffcabf1febfafefe7fdfd2cbb00089969b71d79fb9f7fff20ffbff3ff50ddbd7f061c58f265cd9f4
      69d5af66dddbf871e5f9cff7ff7fffc3ff9ffe45fff4719242cb34e6e9d68a6a3d7dac426defe3cfaf7fffbfe7ffbffd
      """,
      [
        ":path: /v1/orders/93?page=3&q=\\^`",
        "x-request-id: d23f0824128b2f330c5c7fd0a6a3a450",
        "x-bytes: !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
      ]
    ),
    (
      """
      8287c9449c63b8583d9216c4301135fe56398b035f1da0ffea4d4485ff959ab2ffc8c7c6c5
      """,
      [":path: /v1/orders/124?page=4&q=~tilde|pipe"]
    ),
    (
      """
      3fe1018287418b1d665cbe474d7415721e9f449563b8583d9216c43016dbff2b1cc581bf8ed00ffdc77a99d07f66a281b0dae053fafc087e
      d4ce6aadf2a7979c89c6bfbf538b1d75d0620d263d4c7441ea50879bd9abfa523b3f609b4150831ea81576eff2693f9559842255dbff6a26
      72d258241d9d7f4089f2b585ed6950958d27977db642fbcdc8dc8fc847e5782f05e2bc10bcf8a57c028f
      """,
      [
        ":path: /v1/orders/155?page=5&q=a+b",
        "x-request-id: 9531985d5d9dc9f81818e811892f902b",
      ]
    ),
    (
      """
      3fe11f8287418b1d665cbe474d7415721e9f449663b8583d9216c430179cff2b1cc581cf8ed07ffefff77a99d07f66a281b0dae053fafc08
      7ed4ce6aadf2a7979c89c6bfbf538b1d75d0620d263d4c7441eac4c3
      """,
      [":path: /v1/orders/186?page=6&q={}"]
    ),
    (
      """
      8287c1449863b8583d9216c43020bbfe56398b03bf1da0fffe1ffe7ffdc0bfc5c47f049765c95c75b211e095d68b2b6578a26e47da01647c
      0d3adf
      """,
      [
        ":path: /v1/orders/217?page=7&q=\\^`",
        "x-request-id: 36f675cc81e74ef5e8e25d940ed90475",
      ]
    ),
  ]

  @Test("Each block is read as it was meant")
  func reads() {
    let reader = BlockReader()
    let common = [
      ":method: GET",
      ":scheme: https",
      ":authority: api.example.com",
      "user-agent: Mozilla/5.0 (X11; Linux x86_64)",
      "accept: application/json",
      "accept-encoding: gzip, br",
      "cookie: session=%7B\"id\"%3A12%7D; theme=dark",
    ]
    for (block, changed) in Self.story {
      #expect(reader.read(bytes(hex: block)) == .complete)
      #expect(reader.list.fields.filter { !common.contains($0) } == changed)
      #expect(reader.list.fields.filter { common.contains($0) } == common)
    }
  }
}
