import Testing

@testable import Core

@Suite("ZeroedPages") struct ZeroedPagesTests {
  @Test("Every byte is zero and can be written, up to the last", arguments: [1, 4096, 2 << 20, 5 << 20 + 1])
  func zeroed(byteCount: Int) {
    for isHuge in [false, true] {
      let pages = ZeroedPages(byteCount: byteCount, isHuge: isHuge)
      let bytes = unsafe UnsafeMutableRawBufferPointer(start: pages.start, count: byteCount)
      let isZero = unsafe bytes.allSatisfy { $0 == 0 }
      #expect(isZero)
      _ = unsafe bytes.initializeMemory(as: UInt8.self, repeating: 7)
      let last = unsafe bytes[byteCount - 1]
      #expect(last == 7)
    }
  }

  @Test("Huge pages begin where the kernel can make them")
  func aligned() {
    for _ in 0..<3 {
      let pages = ZeroedPages(byteCount: 3 << 20, isHuge: true)
      let address = unsafe UInt(bitPattern: pages.start)
      #expect(address % (2 << 20) == 0)
    }
  }
}
