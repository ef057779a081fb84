import CLinux
import Core
import Glibc

/// A socket address in the form that the kernel takes and gives.
struct NativeAddress {
  var storage = sockaddr_storage()
  var count = socklen_t(MemoryLayout<sockaddr_storage>.size)

  /// Room for an address that the kernel will fill in.
  init() {}

  /// Nil for a unix path that does not fit `sun_path` (107 bytes) or is empty.
  init?(_ address: SocketAddress) {
    switch address {
    case .ip(let ip, let port) where ip.isV4:
      var native = sockaddr_in()
      native.sin_family = sa_family_t(AF_INET)
      native.sin_port = port.bigEndian
      native.sin_addr.s_addr = ip.v4.bigEndian
      store(native)
    case .ip(let ip, let port):
      var native = sockaddr_in6()
      native.sin6_family = sa_family_t(AF_INET6)
      native.sin6_port = port.bigEndian
      unsafe withUnsafeMutableBytes(of: &native.sin6_addr) { bytes in
        unsafe bytes.storeBytes(of: ip.high.bigEndian, toByteOffset: 0, as: UInt64.self)
        unsafe bytes.storeBytes(of: ip.low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      store(native)
    case .unix(let path):
      var native = sockaddr_un()
      let bytes = Array(path.utf8)
      guard !bytes.isEmpty, bytes.count < MemoryLayout.size(ofValue: native.sun_path), !bytes.contains(0) else {
        return nil
      }
      native.sun_family = sa_family_t(AF_UNIX)
      unsafe withUnsafeMutableBytes(of: &native.sun_path) { unsafe $0.copyBytes(from: bytes) }
      store(native)
    }
  }

  /// A copy of what a C function returned; nil for no address or one that is larger than any we know.
  init?(copying address: UnsafePointer<sockaddr>?, count: socklen_t) {
    guard let address = unsafe address, Int(count) <= MemoryLayout<sockaddr_storage>.size else { return nil }
    unsafe withUnsafeMutableBytes(of: &storage) {
      unsafe $0.copyMemory(from: UnsafeRawBufferPointer(start: address, count: Int(count)))
    }
    self.count = count
  }

  private mutating func store<Native>(_ native: Native) {
    // Every address family fits `sockaddr_storage`; that is what it is for.
    unsafe withUnsafeBytes(of: native) { source in
      unsafe withUnsafeMutableBytes(of: &storage) { unsafe $0.copyMemory(from: source) }
    }
    count = socklen_t(MemoryLayout<Native>.size)
  }

  private func load<Native>(_: Native.Type) -> Native {
    unsafe withUnsafeBytes(of: storage) { unsafe $0.load(as: Native.self) }
  }

  var family: Int32 { Int32(storage.ss_family) }

  /// The address in Core's form; nil for a family that is neither IP nor unix, and for a unix socket without a path.
  var socketAddress: SocketAddress? {
    switch family {
    case AF_INET:
      let native = load(sockaddr_in.self)
      return .ip(IPAddress(v4: UInt32(bigEndian: native.sin_addr.s_addr)), port: UInt16(bigEndian: native.sin_port))
    case AF_INET6:
      let native = load(sockaddr_in6.self)
      let ip = unsafe withUnsafeBytes(of: native.sin6_addr) { bytes in
        IPAddress(
          high: UInt64(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
          low: UInt64(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
      }
      return .ip(ip, port: UInt16(bigEndian: native.sin6_port))
    case AF_UNIX:
      let header = MemoryLayout<sa_family_t>.size
      guard count > header else { return nil }
      let path = unsafe withUnsafeBytes(of: storage) { bytes in
        unsafe Array(bytes[header..<min(Int(count), bytes.count)].prefix { $0 != 0 })
      }
      return path.isEmpty ? nil : .unix(path: String(decoding: path, as: UTF8.self))
    default:
      return nil
    }
  }

  /// Lends the address as the pointer and length that system calls take.
  func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    unsafe withUnsafePointer(to: storage) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, count) }
    }
  }

  /// Lets a system call fill the address in.
  mutating func fill<Result>(_ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Result)
    -> Result
  {
    count = socklen_t(MemoryLayout<sockaddr_storage>.size)
    var length = count
    let result = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, &length) }
    }
    count = length
    return result
  }
}
