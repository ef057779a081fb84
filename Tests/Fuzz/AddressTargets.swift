import Core

/// Addresses, blocks and socket addresses as text.
enum AddressTargets {
  /// What is read is written in canonical form and read again as the same value; a block holds its own base.
  static func address(_ bytes: RawSpan) {
    if let address = IPAddress(parsing: bytes) {
      precondition(IPAddress(address.description) == address, "an address changes when it is written")
    }
    if let network = IPNetwork(parsing: bytes) {
      precondition(network.contains(network.base) || network.base.isV4, "a block does not hold its base")
      precondition(IPNetwork(network.description) == network, "a block changes when it is written")
    }
    if let text = AddressText(String(decoding: bytes.array, as: UTF8.self)) {
      precondition(AddressText(text.description) == text, "a socket address changes when it is written")
    }
  }
}
