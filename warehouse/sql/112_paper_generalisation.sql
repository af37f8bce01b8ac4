create view paper_generalisation as
select
    paper_table,
    method,
    variant,
    num_steps,
    dataset,
    max(value) filter (where metric = 'Sync-C') as sync_c,
    max(value) filter (where metric = 'Sync-D') as sync_d,
    max(value) filter (where metric = 'CSIM') as csim,
    max(value) filter (where metric = 'FID') as fid,
    max(value) filter (where metric = 'FVD') as fvd,
    max(value) filter (where metric = 'SSIM') as ssim,
    max(source) as source
from published_results
where paper_table in ('hallo3', 'talkvid')
group by paper_table, method, variant, num_steps, dataset
order by paper_table, min(row_number);

comment on view paper_generalisation is
    'The paper''s out-of-domain tables, Hallo3 and TalkVid. Grain: paper table, method, variant.';
