<#
.SYNOPSIS
Makes another version of a certificate the one that is served, or none.
.DESCRIPTION
What is to be known after a crash is written before the first change. All bindings change with one commit, and each
file of the central store with one rename. Whatever is as wanted already is left alone.
Input:
  certificate   the name of the certificate
  expects       the state that was looked at, or null if there was none
  before        the state to be written before anything is changed, or null to leave it
  after         the state to be written when everything is changed, or null for none
  show, hide    store and thumbprint of certificates that are to be found by programs, or archived
  bindings      site, information, present, and for those that are to be present: flags, thumbprint and store (null
                for the central store), or_absent: whether to remove the binding if there is no such certificate
  central       the path of the central certificate store, or null
  files         name, kept (the name of the kept file to be put there, or null to remove it), save (the name under
                which to keep first what is there, or null)
Output: nothing
Errors: not-found, denied, conflict, changed, in-use, failed
#>
param($Request)

Invoke-Alone {
    $statePath = Get-StatePath $Request.certificate
    $state = Read-State $statePath
    if (-not [string]::Equals([string] $state, [string] $Request.expects, [StringComparison]::Ordinal)) {
        Stop-Work 'changed' 'the state changed meanwhile'
    }
    $kept = Get-KeptDirectory $Request.certificate
    foreach ($file in $Request.files) {
        $path = [IO.Path]::Combine([string] $Request.central, $file.name)
        if ($null -ne $file.save -and [IO.File]::Exists($path)) {
            [void] [IO.Directory]::CreateDirectory($kept)
            Write-File ([IO.Path]::Combine($kept, $file.save)) ([IO.File]::ReadAllBytes($path))
        }
    }
    if ($null -ne $Request.before) { Write-State $statePath $Request.before }

    foreach ($entry in $Request.show) {
        $store = Open-Store $entry.store 'ReadWrite'
        $certificate = Find-Certificate $store $entry.thumbprint
        if ($null -eq $certificate) { Stop-Work 'not-found' ('the certificate {0}' -f $entry.thumbprint) }
        if ($certificate.Archived) { $certificate.Archived = $false }
        $store.Close()
    }

    if ($Request.bindings.Count -gt 0) {
        $iis = Get-Iis
        foreach ($wanted in $Request.bindings) {
            $present = $wanted.present
            if ($present -and $null -ne $wanted.thumbprint) {
                $store = Open-Store $wanted.store 'ReadOnly'
                $certificate = Find-Certificate $store $wanted.thumbprint
                $store.Close()
                if ($null -eq $certificate) {
                    if (-not $wanted.or_absent) { Stop-Work 'not-found' ('the certificate {0}' -f $wanted.thumbprint) }
                    $present = $false
                }
            }
            $site = Select-Site $iis $wanted.site
            if ($null -eq $site -and -not $present) { continue }
            $site = Find-Site $iis $wanted.site
            $found = Find-Binding $site $wanted.information
            if ($present) {
                # A new element for an old one: IIS does not take another hash for an element that it has.
                $binding = $site.Bindings.CreateElement('binding')
                $binding.Protocol = 'https'
                $binding.BindingInformation = $wanted.information
                if ($null -ne $wanted.thumbprint) {
                    $hash = New-Object byte[] ($wanted.thumbprint.Length / 2)
                    for ($at = 0; $at -lt $hash.Length; $at++) {
                        $hash[$at] = [Convert]::ToByte($wanted.thumbprint.Substring(2 * $at, 2), 16)
                    }
                    $binding.CertificateHash = $hash
                    $binding.CertificateStoreName = $wanted.store
                }
                $binding.SetAttributeValue('sslFlags', [int] $wanted.flags)
            }
            if ($null -ne $found) { $site.Bindings.Remove($found) }
            if ($present) { [void] $site.Bindings.Add($binding) }
        }
        try {
            if ($null -ne $iis) { $iis.CommitChanges() }
        } catch [System.IO.FileLoadException] {
            Stop-Work 'in-use' 'somebody else changed the configuration of IIS meanwhile'
        }
    }

    foreach ($file in $Request.files) {
        $path = [IO.Path]::Combine([string] $Request.central, $file.name)
        if ($null -eq $file.kept) {
            [IO.File]::Delete($path)
            [IO.File]::Delete($path + '.new')
        } else {
            Write-File $path ([IO.File]::ReadAllBytes([IO.Path]::Combine($kept, $file.kept)))
        }
    }

    foreach ($entry in $Request.hide) {
        $store = Open-Store $entry.store 'ReadWrite'
        $certificate = Find-Certificate $store $entry.thumbprint
        if ($null -ne $certificate -and -not $certificate.Archived) { $certificate.Archived = $true }
        $store.Close()
    }
    Write-State $statePath $Request.after
    @{}
}
