/// Certificates for tests, good for a hundred years, and their keys, which nobody else may trust.
public enum TestCertificates {
  /// Whose certificates these are.
  public static let authority = Array(
    """
    -----BEGIN CERTIFICATE-----
    MIIBijCCAS+gAwIBAgIUHUsfUQ9CmCNwugu/n+RjL6xlFyowCgYIKoZIzj0EAwIw
    GTEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcNMjYxMTIxMTc0ODI5WhgPMjEy
    NjEwMjgxNzQ4MjlaMBkxFzAVBgNVBAMMDlRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
    zj0CAQYIKoZIzj0DAQcDQgAECiSs8veBP026QxciNdaN0iQZ94jJnomEuI1IC9h7
    LK3EqthfOW5UY13WL9JxhUKkyz5KyF/kOsV3SoqtPdGNVqNTMFEwHQYDVR0OBBYE
    FNg3qdKJgIQz1yMWUcGfL6BMuT0fMB8GA1UdIwQYMBaAFNg3qdKJgIQz1yMWUcGf
    L6BMuT0fMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAI2Ppa2n
    Z1FFtxOFI0UTtnW5Jye/6uBaE96daQmY5dMaAiEAjlDAFI/55bHyvlGULBbF/caB
    teXmviAV5XcHTp/xceg=
    -----END CERTIFICATE-----
    """.utf8)
  /// ECDSA, for `server.test` and `*.wild.test`.
  public static let server = Array(
    """
    -----BEGIN CERTIFICATE-----
    MIIBgjCCASmgAwIBAgICQ7wwCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwOVGVzdCBh
    dXRob3JpdHkwIBcNMjYxMTIxMTc0ODI5WhgPMjEyNjEwMjgxNzQ4MjlaMBExDzAN
    BgNVBAMMBnNlcnZlcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBPVPlzBjYjw
    RJcRAGH1jcYTmIraAxel/LWF1Hrzcg+H5Blz3930o9AvtE713KJtdA2qfDDq8759
    +kq6DZQCWdWjZzBlMCMGA1UdEQQcMBqCC3NlcnZlci50ZXN0ggsqLndpbGQudGVz
    dDAdBgNVHQ4EFgQUk7sRGamNGv6pg5MPjAehB2uR+FUwHwYDVR0jBBgwFoAU2Dep
    0omAhDPXIxZRwZ8voEy5PR8wCgYIKoZIzj0EAwIDRwAwRAIgF4Jzfktc1alB+a+q
    0wRF30JHnEWiThpri6aHHBVyV50CIBdk26naXldAaG0WCsUrVQ9BWDnJ2YGPJNmM
    auYiQSG7
    -----END CERTIFICATE-----
    """.utf8)
  /// The key of ``server``.
  public static let serverKey = Array(
    """
    -----BEGIN EC PRIVATE KEY-----
    MHcCAQEEIBogBL3ic7bo8uZ1UUmkt2yDuCCB0pcuFdQCWAIMMbqRoAoGCCqGSM49
    AwEHoUQDQgAEE9U+XMGNiPBElxEAYfWNxhOYitoDF6X8tYXUevNyD4fkGXPf3fSj
    0C+0TvXcom10Dap8MOrzvn36SroNlAJZ1Q==
    -----END EC PRIVATE KEY-----
    """.utf8)
  /// RSA, for `server.test`.
  public static let serverRSA = Array(
    """
    -----BEGIN CERTIFICATE-----
    MIICPjCCAeSgAwIBAgICRJUwCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwOVGVzdCBh
    dXRob3JpdHkwIBcNMjYxMTIxMTc0ODI5WhgPMjEyNjEwMjgxNzQ4MjlaMA4xDDAK
    BgNVBAMMA3JzYTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAOGEfcuA
    bI0oGmnXvKC/jFvsnK4hZ5uq9YBxDAnuLUqyRksVDI/T9hyv9BF3Ug5VJfUk1lFR
    65vcp/r+b9tUPgCS1fWLHUec/UuxrKK1sAQVTM3amAUrjECijO1UWrJ42+dUvQCo
    65NKf4KcJMcXPMrs306XhJ4WF1lLmTXg80jJcL7697Iljr/5luJXIf6daro4PJuy
    GOCXkwX2zwh42NEEjK/V5V794PK9w9qIWj8aHfUlSYdvStXBOm3cHkpltZ7NzU4M
    hHYKOotpQrCmwo4VdZAKV6+SqMLQpZ9f2h7DPtr0d94GiD2LgSH5JqoYeCPs7mhC
    fucHFgj9pXUWwE0CAwEAAaNaMFgwFgYDVR0RBA8wDYILc2VydmVyLnRlc3QwHQYD
    VR0OBBYEFNvAqd4guN2+4tB0lYz4BhSU7NVuMB8GA1UdIwQYMBaAFNg3qdKJgIQz
    1yMWUcGfL6BMuT0fMAoGCCqGSM49BAMCA0gAMEUCIAM1gikVTSTF1HFwuoL2pWgS
    DXAA3p4Fj5ALD15lkLvSAiEA0OwSGc+mN1SWU1p0C+M3PoaEudpjTbLcT2XtOUu2
    3P4=
    -----END CERTIFICATE-----
    """.utf8)
  /// The key of ``serverRSA``.
  public static let serverRSAKey = Array(
    """
    -----BEGIN PRIVATE KEY-----
    MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDhhH3LgGyNKBpp
    17ygv4xb7JyuIWebqvWAcQwJ7i1KskZLFQyP0/Ycr/QRd1IOVSX1JNZRUeub3Kf6
    /m/bVD4AktX1ix1HnP1LsayitbAEFUzN2pgFK4xAooztVFqyeNvnVL0AqOuTSn+C
    nCTHFzzK7N9Ol4SeFhdZS5k14PNIyXC++veyJY6/+ZbiVyH+nWq6ODybshjgl5MF
    9s8IeNjRBIyv1eVe/eDyvcPaiFo/Gh31JUmHb0rVwTpt3B5KZbWezc1ODIR2CjqL
    aUKwpsKOFXWQClevkqjC0KWfX9oewz7a9HfeBog9i4Eh+SaqGHgj7O5oQn7nBxYI
    /aV1FsBNAgMBAAECggEAAcJw4NJDBo7riyvdvZCrswPo7QrhrhCVaHJ5Wj0mKVEJ
    b13eAo6a0E/Rza5qpiX6l9ZjvbAFReq2J3qDZj4FWyfKIjz69itpZoUfswf2iZxI
    7x+SKWgqPfmGs/YBMdHzlUh5+QlYXTEq8YVFBttNjspuVkSkX5S4iz/Qat/dxhGY
    iVF5Z+sJOQpQFKx+o2jhh6fGzNxu7GSxdBrtk56kYa8KBg6KxQ7eeDh3qalvm2A4
    3SbGI7fmkcS5F3gD8SMhLyUEYWiThe0D/fBkbfYUqPngqa8WLuaZIpeip0PaClfB
    hDjBZFULukctKkmQGPaP4EOtIOb7YROxPXHFoj7sGQKBgQD3mKBjpEE6tvEvp4M8
    m6niSSkIyWS92sBA1aKseFsX/sCGeAzUKhKwHOm6UOYEDL5KL/bWUXN09Scf1+be
    O55IvewESOnjJz81GBfj6QDwZANTIf1AFpqu2cXAzwejhZFdmE/bXDHSTwixdPuI
    v+cjVT+1uQt8DEXAp/BmpKNvwwKBgQDpLAXFwZJRU7IQSjoKJhzIlx9UNiYULxYl
    Zd/PLjZzjs0EABjB+FqSauMdf70SCQ6bV+MKKUfKXHNKN/LgBeX4lwS8H7EEL3ug
    LLNQQDdd0VpovZ0DPnXJ61Oy9yR+QtnV7GUOHHrlqk2v5wkbJfDT5Jh/fMK4D58h
    aOOm8OGerwKBgQDvW0FSkmvs0wZ+xzX71ZB6Dbf5opgdYegRxXWpvgByRfjhBhWA
    1duTHaBmWebDa35aQdwifENdgdH82r95f7EZKWGNEt/olPxp24zc61fZDRaZu3YU
    CsYm2qhuKLZ9wpYxIRmyOoJ/iaAhzbGNFdfhNHyOtQEBPuv/v1qMIAVP+QKBgD6v
    oiGnR8HrgVyVyALAek6HKloGcLhObGLDf6cAYo0wn/dqWz2Smi7w43wjwl3d53pl
    51js/iruLeSPJBGMJGZvm0tELd/VMCRAwDhb+0aSqP6ts0+S9DHDvW3IuZvkNxIn
    Cof/qh6iaV5X+3+79IHS3BiyHttC/+IIg+N2sQFrAoGAfnfpr1roWVJHfxYVwSoN
    unq2ltkex5N9UVaYAt4U6e44gDzSwsNKii7Ol3QpZX8CmhDfC6kaWRr0HiYZV0f9
    B8/+MRnun/tzu5/u3jrcCIDVJQI058d2eQHKe2uW084JxZaiMfvIBMwIzT6+cfgg
    SMnidDQN9+6kaXQ9LCbxyb0=
    -----END PRIVATE KEY-----
    """.utf8)
  /// For `spiffe://test/client`.
  public static let client = Array(
    """
    -----BEGIN CERTIFICATE-----
    MIIBfzCCASWgAwIBAgICUCMwCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwOVGVzdCBh
    dXRob3JpdHkwIBcNMjYxMTIxMTc0ODI5WhgPMjEyNjEwMjgxNzQ4MjlaMBExDzAN
    BgNVBAMMBmNsaWVudDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNu9qK5Z8xFw
    j3iusT92frwcAwE4YWH0+phVYmHq3SWDjbuFNqr05GWLKyWq7KMfmQrcAasAdIma
    sxgEZbmaLI2jYzBhMB8GA1UdEQQYMBaGFHNwaWZmZTovL3Rlc3QvY2xpZW50MB0G
    A1UdDgQWBBSX7csGeImwdXgnX9jssGYoYrlOdzAfBgNVHSMEGDAWgBTYN6nSiYCE
    M9cjFlHBny+gTLk9HzAKBggqhkjOPQQDAgNIADBFAiEArhQVuUKgroWUDnnaTG55
    ALxdgSnCcAvRPgaomKS+USYCIFUhBCXX71v9JdGkSS0c2+F1kHT6AjdHMp04UMgf
    YE0F
    -----END CERTIFICATE-----
    """.utf8)
  /// The key of ``client``.
  public static let clientKey = Array(
    """
    -----BEGIN EC PRIVATE KEY-----
    MHcCAQEEIHB89sYVfSoMsrC1rMWb7/juE95oh8i/2qNfXqHxv0DFoAoGCCqGSM49
    AwEHoUQDQgAE272orlnzEXCPeK6xP3Z+vBwDAThhYfT6mFViYerdJYONu4U2qvTk
    ZYsrJarsox+ZCtwBqwB0iZqzGARluZosjQ==
    -----END EC PRIVATE KEY-----
    """.utf8)
  /// Signed by itself, for `a.dns.test`, `spiffe://other.example.com` and `bob@corp.example.com`.
  public static let manyNames = Array(
    """
    -----BEGIN CERTIFICATE-----
    MIIBwTCCAWigAwIBAgIUDahC2gQ9CcibxgqKnOm8KwWFGqAwCgYIKoZIzj0EAwIw
    EDEOMAwGA1UEAwwFbmFtZWQwIBcNMjYxMTIxMTgzNjUyWhgPMjEyNjEwMjgxODM2
    NTJaMBAxDjAMBgNVBAMMBW5hbWVkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
    Ba8kElU3gcYFCS/hZHwiZYCUXWB/LN6yeoH/hnX+00CxAituOoFW/S7zBOhA0zro
    cKrN/QRrhj0iUHoCHQ8zaaOBnTCBmjAdBgNVHQ4EFgQUm8oTULmkFpZpfMORr1Nu
    3RWvgoIwHwYDVR0jBBgwFoAUm8oTULmkFpZpfMORr1Nu3RWvgoIwDwYDVR0TAQH/
    BAUwAwEB/zBHBgNVHREEQDA+ggphLmRucy50ZXN0hhpzcGlmZmU6Ly9vdGhlci5l
    eGFtcGxlLmNvbYEUYm9iQGNvcnAuZXhhbXBsZS5jb20wCgYIKoZIzj0EAwIDRwAw
    RAIgFqpx+PH+bmyzC3Pfaf+sckBx3VFWZPqUE5HnpHT3gZsCIBrdptl2qrr4sApn
    B00RLfRc8Ex8UBtILjN1+TaryWXZ
    -----END CERTIFICATE-----
    """.utf8)
  /// Signed by itself, without alternative names; its common name is `server.test`.
  public static let commonNameOnly = Array(
    """
    -----BEGIN CERTIFICATE-----
    MIIBgzCCASmgAwIBAgIUGRi4jxgOuJKNRxcwcfn5mb92q6IwCgYIKoZIzj0EAwIw
    FjEUMBIGA1UEAwwLc2VydmVyLnRlc3QwIBcNMjYxMTIxMTgzNTEzWhgPMjEyNjEw
    MjgxODM1MTNaMBYxFDASBgNVBAMMC3NlcnZlci50ZXN0MFkwEwYHKoZIzj0CAQYI
    KoZIzj0DAQcDQgAEgh+1AJNOnEiqeNiffhsh824j3Y9KT6eyAt/orvVnmQJYrmKu
    kyzm7k4+bOozI1AU7EWDwp4jOImiHdDYXVbBp6NTMFEwHQYDVR0OBBYEFKf07SeV
    NK8m1yY+0VVCd4csYLnZMB8GA1UdIwQYMBaAFKf07SeVNK8m1yY+0VVCd4csYLnZ
    MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgZy2U7lYW0AxHn3jw
    TB6Hay3xsJEV3jL+e0F97nlC9iICIQCHRYFKgf+Ya0Z+PzBdV2rT4Z3eh3izZDWH
    D7gD5KT40w==
    -----END CERTIFICATE-----
    """.utf8)
  /// The key of ``commonNameOnly``.
  public static let commonNameOnlyKey = Array(
    """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQga+z3SB3IqFJxiktA
    MzEJaVjKELdQks+HjLetfLS9E/ChRANCAASCH7UAk06cSKp42J9+GyHzbiPdj0pP
    p7IC3+iu9WeZAliuYq6TLObuTj5s6jMjUBTsRYPCniM4iaId0NhdVsGn
    -----END PRIVATE KEY-----
    """.utf8)
}
