// The entry for libFuzzer, which brings `main`. Built only with FUZZ=1, see `FuzzTable`.

import Fuzz
import Glibc

/// The target that the environment names; libFuzzer calls one function only.
private let chosen: FuzzTarget = {
  let name = unsafe getenv("SLUICE_FUZZ").map { unsafe String(cString: $0) } ?? ""
  guard let target = FuzzTable.target(name) else {
    let names = FuzzTable.targets.map(\.name).joined(separator: ", ")
    fatalError("set SLUICE_FUZZ to one of: \(names)")
  }
  return target
}()

/// One input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  // libFuzzer owns the bytes and keeps them for the length of the call.
  unsafe chosen.run(RawSpan(_unsafeStart: UnsafeRawPointer(start ?? UnsafePointer(bitPattern: 1)!), byteCount: count))
  return 0
}
