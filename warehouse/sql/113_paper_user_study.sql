create view paper_user_study as
select
    method,
    variant,
    max(value) filter (where metric = 'MOS-Sync') as mos_sync,
    max(value) filter (where metric = 'MOS-Quality') as mos_quality,
    max(value) filter (where metric = 'MOS-Identity') as mos_identity,
    max(value) filter (where metric = 'MOS-Naturalness') as mos_naturalness,
    max(source) as source
from published_results
where paper_table = 'user_study_mos'
group by method, variant
order by min(row_number);

comment on view paper_user_study is
    'Mean opinion scores of the paper''s user study, 1 to 5. Grain: method, variant.';
