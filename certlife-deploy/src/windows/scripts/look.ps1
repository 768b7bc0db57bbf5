<#
.SYNOPSIS
Reads what this machine holds for one certificate, and what IIS serves.
.DESCRIPTION
Nothing changes, but for files of the certificate that a process left unfinished which died: they are removed.
Input:
  certificate   the name of the certificate
  marker        the text that the friendly names of its versions contain
  stores        names of certificate stores of the machine
  central       path and password of the central certificate store, or null if there are no files to be read
  files         names of files in the central store
Output:
  state         the state that was written last, or null
  certificates  store, thumbprint, fingerprint, name, has_key, archived, for each certificate with the marker
  iis           whether IIS is installed
  bindings      site, information, flags, thumbprint, store, fingerprint, name, has_key, for each https binding;
                null where there is none, or no such certificate
  files         name, digest, kept, fingerprint, for each file that exists: SHA-256 of its content, the name of the
                kept file with the same content, or else the certificate in it; null where it cannot be told
  kept          names of the files that are kept for the certificate
Errors: not-found, denied, conflict, in-use, failed
#>
param($Request)

Invoke-Alone {
    $opened = @{}
    # The certificates of a store by thumbprint.
    function Get-StoreContent {
        param([string] $Name)
        if (-not $opened.ContainsKey($Name)) {
            $found = @{}
            $store = Open-Store $Name 'ReadOnly'
            foreach ($certificate in $store.Certificates) { $found[$certificate.Thumbprint] = $certificate }
            $store.Close()
            $opened[$Name] = $found
        }
        $opened[$Name]
    }

    $certificates = New-Object System.Collections.ArrayList
    foreach ($name in $Request.stores) {
        foreach ($certificate in (Get-StoreContent $name).Values) {
            if (([string] $certificate.FriendlyName).IndexOf($Request.marker, [StringComparison]::Ordinal) -lt 0) { continue }
            [void] $certificates.Add(@{
                store = $name
                thumbprint = $certificate.Thumbprint.ToLowerInvariant()
                fingerprint = Get-Sha256 $certificate.RawData
                name = $certificate.FriendlyName
                has_key = Test-Key $certificate
                archived = $certificate.Archived
            })
        }
    }

    $bindings = New-Object System.Collections.ArrayList
    $iis = Get-Iis
    if ($null -ne $iis) {
        foreach ($site in $iis.Sites) {
            foreach ($binding in $site.Bindings) {
                if ($binding.Protocol -ne 'https') { continue }
                $entry = @{
                    site = $site.Name
                    information = $binding.BindingInformation
                    flags = [int] $binding.GetAttributeValue('sslFlags')
                    thumbprint = $null
                    store = $null
                    fingerprint = $null
                    name = $null
                    has_key = $false
                }
                $hash = $binding.CertificateHash
                if ($null -ne $hash -and $hash.Length -gt 0) {
                    $entry.thumbprint = [BitConverter]::ToString($hash).Replace('-', '').ToLowerInvariant()
                    $entry.store = $binding.CertificateStoreName
                    $bound = $null
                    if ($entry.store) {
                        # Somebody's binding to a store that is gone is no reason not to look at the others.
                        try {
                            $bound = (Get-StoreContent $entry.store)[$entry.thumbprint]
                        } catch [System.InvalidOperationException] {
                            $bound = $null
                        }
                    }
                    if ($null -ne $bound) {
                        $entry.fingerprint = Get-Sha256 $bound.RawData
                        $entry.name = $bound.FriendlyName
                        $entry.has_key = Test-Key $bound
                    }
                }
                [void] $bindings.Add($entry)
            }
        }
    }

    $kept = @{}
    $directory = Get-KeptDirectory $Request.certificate
    if (-not [IO.Directory]::Exists($directory)) { $paths = @() } else { $paths = [IO.Directory]::GetFiles($directory, '*.pfx') }
    foreach ($path in $paths) {
        $kept[(Get-Sha256 ([IO.File]::ReadAllBytes($path)))] = [IO.Path]::GetFileName($path)
    }
    $files = New-Object System.Collections.ArrayList
    foreach ($name in $Request.files) {
        $path = [IO.Path]::Combine($Request.central.path, $name)
        if (-not [IO.File]::Exists($path)) { continue }
        $content = [IO.File]::ReadAllBytes($path)
        $entry = @{ name = $name; digest = (Get-Sha256 $content); kept = $null; fingerprint = $null }
        if ($kept.ContainsKey($entry.digest)) {
            $entry.kept = $kept[$entry.digest]
        } else {
            $opening = New-Object System.Security.Cryptography.X509Certificates.X509Certificate2Collection
            try {
                $opening.Import($content, $Request.central.password, 'DefaultKeySet')
                foreach ($certificate in $opening) {
                    if ($certificate.HasPrivateKey) { $entry.fingerprint = Get-Sha256 $certificate.RawData }
                }
            } catch [System.Security.Cryptography.CryptographicException] {
                $entry.fingerprint = $null
            } finally {
                foreach ($certificate in $opening) { $certificate.Dispose() }
            }
        }
        [void] $files.Add($entry)
    }

    @{
        state = Read-State (Get-StatePath $Request.certificate)
        certificates = @($certificates.ToArray())
        iis = ($null -ne $iis)
        bindings = @($bindings.ToArray())
        files = @($files.ToArray())
        kept = @($kept.Values)
    }
}
