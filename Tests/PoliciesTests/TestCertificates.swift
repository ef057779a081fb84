import Core

@testable import Crypto

/// Certificates that clients show in tests; good until 2109.
enum TestCertificates {
  /// Of `orders`, which is also `orders.internal` and `spiffe://prod/orders`.
  static func workload() throws -> TLSPeer { try peer(workloadText) }
  /// Of `mobile`, by its common name alone.
  static func named() throws -> TLSPeer { try peer(namedText) }

  /// What a token says that is bound to the workload's certificate.
  static let workloadThumbprint = "7SmHuYijWX_KZzJdroqz3MmR1L8OkQwuf-34Oc-gJu8"

  private static func peer(_ text: String) throws -> TLSPeer {
    TLSPeer(try PEMText.certificates(Array(text.utf8), limit: 1)[0])
  }

  static let workloadText = """
    -----BEGIN CERTIFICATE-----
    MIIBrTCCAVOgAwIBAgIULidwO97e1juR29ttN0u+2rNR/kIwCgYIKoZIzj0EAwIw
    ETEPMA0GA1UEAwwGb3JkZXJzMCAXDTI2MTEyMjAxMDEwMloYDzIxMDkwMTExMDEw
    MTAyWjARMQ8wDQYDVQQDDAZvcmRlcnMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
    AASypCZkdn+IB+XNy+fvGYFenqkByN+GgZLzXvw+0tNPKgZpkwn8Dtu1hz5PyKZB
    MdtZAvVzrlt1pgXMxvQpSGuso4GGMIGDMB0GA1UdDgQWBBQhA9LwmF6gG13h2z3k
    3rgJ9y+VyDAfBgNVHSMEGDAWgBQhA9LwmF6gG13h2z3k3rgJ9y+VyDAPBgNVHRMB
    Af8EBTADAQH/MDAGA1UdEQQpMCeCD29yZGVycy5pbnRlcm5hbIYUc3BpZmZlOi8v
    cHJvZC9vcmRlcnMwCgYIKoZIzj0EAwIDSAAwRQIhANYsxPqB4ukQ0btneGg//a8W
    5QR81riXc9wbrwIeVe0AAiAUbVy4EhTXe6eWOVFCGmt/hrRqSVNQT4cpqt8zHbYE
    PQ==
    -----END CERTIFICATE-----
    """

  private static let namedText = """
    -----BEGIN CERTIFICATE-----
    MIIBeDCCAR+gAwIBAgIUdGBzyiPFeqvIXHUVCcYNv6WrFF4wCgYIKoZIzj0EAwIw
    ETEPMA0GA1UEAwwGbW9iaWxlMCAXDTI2MTEyMjAxMDEwMloYDzIxMDkwMTExMDEw
    MTAyWjARMQ8wDQYDVQQDDAZtb2JpbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
    AAT1ayBqE64Tkj/bKCluMloQTRyVKtYS9v0i5TE1VBa3HxGGwI909phPWoyDNZ0s
    8wxPH2JAaI77bFPruP0hOwZGo1MwUTAdBgNVHQ4EFgQU8MjtVgLT81aOzRkQ10sP
    bkrMH3IwHwYDVR0jBBgwFoAU8MjtVgLT81aOzRkQ10sPbkrMH3IwDwYDVR0TAQH/
    BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiBYhyyBwQFCpJ6lnV92tP6mMWhnqYsM
    ZtepMq6jaX58twIgTExcGM4WUbFrXh+aXmU2LdWD7iuavhujF9kQikl7JMo=
    -----END CERTIFICATE-----
    """
}
